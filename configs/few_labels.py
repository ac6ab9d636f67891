"""Learning from few labels: ACDC's heart with 3, 7 or all 70 labelled patients, by any method.

Papers: each method's is in its docstring (docs/few_labels.md lists them); ACDC: Bernard et al.,
IEEE TMI 2018; lists, network and recipe of "published": SSL4MIS (Luo et al.).
Data: ../shared/data/acdc_ssl, HDF5 volumes (slice, y, x) and SSL4MIS's lists: 70 patients of two
volumes train, 10 validate and are looked at once, with the last step's weights.
Run: python train.py --config=configs/few_labels.py:mean_teacher,labelled=3 --workdir=runs/few
     python train.py --config=configs/few_labels.py:supervised,labelled=70,protocol=published ...
After the method, separated by commas: labelled (3; patients, both volumes of each), draw (0 takes
the first patients of the published list, 1, 2, ... draw others), protocol ("cpu", a run of minutes
on one core, or "published": 30,000 steps of 12 + 12 slices of 256x256, for an accelerator),
validation ("published": the 10 patients of its list; "training": 10 of those that train, two of
each of the set's five groups by their numbers, which then don't: by them SHORT was chosen).
The table of all methods: python benchmarks/few_labels.py (docs/few_labels.md).
"""

from jaxseg import defaults
from jaxseg.build import suggestion

DATA = "../shared/data/acdc_ssl"
PATIENT = r"(patient\d+)_"
# the order of train_slices.list, whose first slices the literature has labelled
PUBLISHED = ("patient099", "patient038", "patient050")
PUBLISHED += ("patient100", "patient058", "patient021", "patient049")
PATIENTS = 70
# those of train.list, by number
TRAINING = (3, 4, 5, 6, 9, 10, 12, 14, 15, 16, 17, 18, 20, 21, 23, 25, 26, 27, 29, 31, 32, 34, 35)
TRAINING += (36, 37, 38, 40, 41, 42, 43, 44, 46, 47, 48, 49, 50, 51, 53, 54, 55, 56, 57, 58, 60, 61)
TRAINING += (62, 63, 67, 69, 70, 71, 72, 73, 74, 76, 77, 79, 86, 88, 89, 90, 91, 92, 94, 95, 96, 97)
TRAINING += (98, 99, 100)
# of them, those by which SHORT was chosen
CHOOSING = (4, 12, 25, 34, 44, 53, 62, 71, 88, 96)

# as many slices of cases without labels as of cases with labels, augmented alike
UNLABELLED = dict(cases="unlabelled")
# UniMatch's colour jitter of grey images, and its blur
STRONG = dict(
  brightness=dict(p=0.8, factor=(0.5, 1.5)),
  contrast=dict(p=0.8, factor=(0.5, 1.5)),
  blur=dict(p=0.5, sigma=(0.1, 2.0), p_channel=1.0),
)

# of Hung's and of SSL4MIS's critics
CRITIC = dict(name="adam", learning_rate=1e-4, b2=0.99)

# method -> the fields of the config that it sets, by path; what it leaves out is the same for all
METHODS = {
  "supervised": {},
  "pseudo_label": {
    "method": dict(
      name="pseudo_label", weight=dict(name="linear", begin=1 / 6, end=1.0), threshold=0.9
    ),
    "losses": dict(pseudo=dict(cross_entropy=dict())),
    "streams": dict(unlabelled=UNLABELLED),
  },
  "entropy_minimisation": {
    "method": dict(
      name="entropy_minimisation", weight=dict(name="gaussian", end=0.1), images="all"
    ),
    "streams": dict(unlabelled=UNLABELLED),
  },
  "mean_teacher": {
    # as in SSL4MIS the student is scored
    "method": dict(
      name="mean_teacher",
      consistency=dict(name="gaussian", end=0.1, zero_before=1 / 30),
      predict_with="student",
    ),
    "streams": dict(unlabelled=UNLABELLED),
  },
  "uncertainty_mean_teacher": {
    # UA-MT divides by 2 where we divide by 4 classes
    "method": dict(
      name="uncertainty_mean_teacher",
      consistency=dict(name="gaussian", end=0.2),
      threshold=dict(name="gaussian", start=0.75, end=1.0),
      predict_with="student",
    ),
    "streams": dict(unlabelled=UNLABELLED),
  },
  "cross_pseudo": {
    "method": dict(name="cross_pseudo", consistency=dict(name="gaussian", end=0.1)),
    "streams": dict(unlabelled=UNLABELLED),
  },
  "cross_teaching": {
    # the paper's Swin-UNet, in size and kind
    "method": dict(name="cross_teaching", consistency=dict(name="gaussian", end=0.1)),
    "networks": dict(
      other=dict(name="swin_unetr", features=12, depths=(2, 2, 2), heads=(3, 6, 12), window=8)
    ),
    "streams": dict(unlabelled=UNLABELLED),
  },
  "fixmatch": {
    "method": dict(name="fixmatch", threshold=0.95),
    "views": dict(strong=STRONG),
    "streams": dict(unlabelled=UNLABELLED),
  },
  "unimatch": {
    "method": dict(name="unimatch", threshold=0.95),
    "views": dict(strong=STRONG),
    "streams": dict(unlabelled=UNLABELLED),
  },
  "copy_paste": {
    # pre-trained for a quarter of the steps, the paper's 10,000 of 40,000
    "method": dict(
      name="copy_paste",
      unlabelled_weight=dict(name="piecewise", at=(0.25,), values=(0.0, 0.5)),
      predict_with="student",
    ),
    "streams": dict(unlabelled=UNLABELLED),
  },
  "hung": {
    # the first 5,000 of 20,000 steps without its own labels, as there
    "method": dict(name="hung", semi=dict(name="piecewise", at=(0.25,), values=(0.0, 0.1))),
    "networks": dict(critic=dict(name="fully_convolutional_critic")),
    "optimisers": dict(critic=CRITIC),
    "streams": dict(unlabelled=UNLABELLED),
  },
  "dan": {
    "method": dict(name="dan", fool=dict(name="gaussian", end=0.1)),
    "networks": dict(critic=dict(name="two_input_critic")),
    "optimisers": dict(critic=CRITIC),
    "streams": dict(unlabelled=UNLABELLED),
  },
}

# half cross entropy, half Dice: of what is labelled, and in a short run of what the network guesses
HALVES = dict(cross_entropy=dict(weight=0.5), dice=dict(weight=0.5, batch=True, squared=True))


def _later(value):
  """0 for a quarter of the steps, in which supervised training has come to rest, then `value`.

  What a network says before it has learnt anything is background, and learnt it stays: ramps of
  30,000 steps, or none, cost a run of hundreds more than images without labels give.
  """
  return dict(name="piecewise", at=(0.25,), values=(0.0, value))


MIXED = {
  "method.consistency": _later(10.0),
  "method.cutmix": 1.0,
  "views": dict(strong=STRONG),
}
# what METHODS have otherwise in a short run, by path
SHORT = {
  # what a pass with dropout is sure of is hardly anything but background: all counts, as Lee has it
  "pseudo_label": {
    "method.weight": _later(1.0),
    "method.threshold": 0.0,
    "losses": dict(pseudo=HALVES),
  },
  "entropy_minimisation": {"method.weight": _later(0.1)},
  # what differs by noise alone teaches hardly anything (1906.01916): the student sees FixMatch's
  # strong view, and mixtures of two images
  "mean_teacher": MIXED,
  "uncertainty_mean_teacher": MIXED | {"method.passes": 4},
  # with the paper's CutMix: of every image, as of half of UniMatch's
  "cross_pseudo": {
    "method.consistency": _later(1.0),
    "method.cutmix": 1.0,
    "losses": dict(pseudo=HALVES),
  },
  "cross_teaching": {
    "method.consistency": _later(1.0),
    "losses": dict(pseudo=HALVES),
  },
  "fixmatch": {"method.consistency": _later(1.0), "losses": dict(pseudo=HALVES)},
  # for the same reason
  "unimatch": {
    "method.consistency": _later(1.0),
    "method.threshold": 0.0,
    "losses": dict(pseudo=HALVES),
  },
  # three patients' images are soon known by heart, and the critic tells these, not their maps: with
  # 0.1 its gradient is as large as that of the labels
  "dan": {"method.fool": _later(0.01)},
}

PROTOCOLS = ("cpu", "published")
VALIDATIONS = ("published", "training")
ARGUMENTS = {"labelled": "3", "draw": "0", "protocol": "cpu", "validation": "published"}


def get_config(wanted="supervised"):
  method, labelled, draw, protocol, validation = _arguments(wanted)
  config = defaults.config()
  config.loss = HALVES
  config.data.source = dict(
    name="h5",
    path=f"{DATA}/volumes",
    names=("background", "right ventricle", "myocardium", "left ventricle"),
  )
  config.data.split = dict(group=PATIENT, **_sides(validation), **_share(labelled, draw))
  config.data.slices = 0
  config.data.normalise = "minmax"
  config.data.foreground = 0.0  # slices of all parts of the heart, as those without labels
  # as there, about half of the slices stay upright: those that are scored are
  config.augment = dict(
    spatial=dict(rotation=20.0, p_rotation=0.5, p_scale=0.0),
    quarter_turn=dict(p=0.15),
    mirror=dict(p=0.25),
  )
  if protocol == "published":
    _published(config)
  else:
    _cpu(config)
  # the cases that validate are looked at once, at the end
  config.evaluate.every = config.steps
  config.checkpoint_every = max(1, config.steps // 4)
  defaults.assign(config, METHODS[method])
  if protocol == "cpu":
    defaults.assign(config, SHORT.get(method, {}))
    if "critic" in config.networks:
      # a quarter of the published ones
      config.networks["critic"]["widths"] = (16, 32, 64, 128)
  return config


def _published(config):
  """SSL4MIS's protocol: whole slices at 256x256, nearest voxels there and back."""
  config.steps = 30_000
  config.optimiser = dict(
    name="sgd",
    momentum=0.9,
    learning_rate=0.01,
    schedule=dict(name="polynomial", power=0.9),
    weight_decay=0.0,
    l2=1e-4,  # what PyTorch's SGD calls weight decay
    clip=0.0,
    accumulate=1,
  )
  config.network = dict(name="ssl4mis_unet")
  config.data.resampling = dict(
    size=(None, 256, 256), order=0, label_order=0, score_order=0, corners=True
  )
  config.data.patch = (256, 256)
  config.data.batch = 12
  config.predictor = dict(name="slices", overlap=0.5, batch=8)


def _cpu(config):
  """The same at a sixteenth of the voxels, with half the widths, and far fewer steps."""
  # a core takes 110 slices a second of batches of 4, and 84 of 6
  config.steps = 2000
  config.data.batch = 4
  # in so few steps SGD gets nowhere near
  config.optimiser = dict(
    name="adamw",
    learning_rate=5e-3,
    schedule=dict(name="polynomial", power=0.9),
    weight_decay=1e-2,
    l2=0.0,
    clip=12.0,
    accumulate=1,
  )
  config.network = dict(name="ssl4mis_unet", widths=(8, 16, 32, 64, 128))
  config.data.resampling = dict(size=(None, 64, 64), order=1, label_order=0)
  config.data.patch = (64, 64)
  config.predictor = dict(name="slices", overlap=0.5, batch=8)


def _sides(validation):
  """The options of the split that choose who trains and who validates."""
  if validation == "published":
    lists = dict(train_list=f"{DATA}/train.list", validation_list=f"{DATA}/val.list")
    return dict(name="lists", **lists)
  train = sorted(set(TRAINING) - set(CHOOSING))
  return dict(name="explicit", train=_volumes(train), validation=_volumes(CHOOSING))


def _volumes(patients):
  """The names of both volumes of each."""
  return tuple(f"patient{number:03}_frame{at:02}" for number in patients for at in (1, 2))


def _share(labelled, draw):
  """The options of the split that choose the labelled patients."""
  if labelled == PATIENTS:
    if draw:
      raise ValueError(
        f"draw={draw}: has no effect with labelled={labelled}, which are all; leave it out."
      )
    return {}
  if draw:
    return dict(labelled=labelled, labelled_seed=draw)
  if labelled > len(PUBLISHED):
    raise ValueError(
      f"labelled={labelled}: the published list names {len(PUBLISHED)} patients; expected up to "
      f"{len(PUBLISHED)}, {PATIENTS}, or draw=1."
    )
  return dict(labelled=PUBLISHED[:labelled])


def _arguments(wanted):
  """METHOD,labelled=3,draw=0,... -> method and ARGUMENTS; raises ValueError for what is none."""
  method, *words = wanted.split(",")
  if method not in METHODS:
    raise ValueError(
      f"'{method}' is no method of this table{suggestion(method, METHODS)}; choices: "
      f"{', '.join(METHODS)}."
    )
  choices = {"protocol": PROTOCOLS, "validation": VALIDATIONS}
  given = defaults.arguments(words, ARGUMENTS, "METHOD", choices)
  for name, least in (("labelled", 1), ("draw", 0)):
    if not given[name].isdigit() or int(given[name]) < least:
      raise ValueError(f"{name}={given[name]}: expected a whole number from {least}.")
  if int(given["labelled"]) > PATIENTS:
    raise ValueError(f"labelled={given['labelled']}: expected at most {PATIENTS} patients.")
  return method, int(given["labelled"]), int(given["draw"]), given["protocol"], given["validation"]
