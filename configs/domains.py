"""Segmentation on another domain than the one with labels: CT, MR and X-rays of two hospitals.

Papers: each method's is in its docstring (docs/domains.md lists them). Protocol of the abdomens:
SIFA, Chen et al., IEEE TMI 2020 (2002.02255): 2D slices, four organs, patients apart.
Data: ../shared/data/abdomen_ct_mr: 6 CT and 8 MR of other patients, 8-bit CT whose slices were
rescaled one by one, so that published scores are no measure; ../shared/data/cxr_lung: 40 X-rays of
Montgomery County, 40 of Shenzhen. Of both domains of a pair some patients are never trained on.
Run: python train.py --config=configs/domains.py:source,pair=mr_to_ct --workdir=runs/mr_to_ct
After the method, one of METHODS, separated by commas: pair (one of PAIRS, "montgomery_to_shenzhen"
if there is none) and protocol ("cpu": 128x128, small widths, minutes of one core; "published":
256x256, batches of 8, 20,000 steps, for an accelerator); for second_stage and cycada,
which learn from what a run of cyclegan has made, run (that run's folder).
What is scored are the target's unseen cases, with the last step's weights. The target's training
cases are fed without labels; those of its unseen cases are used for the scores alone. The best
checkpoint is the best on the source's unseen cases (docs/domains.md).
The table of all methods: python benchmarks/domains.py.
"""

from jaxseg import defaults
from jaxseg.build import suggestion

DATA = "../shared/data"
ORGANS = ("liver", "right kidney", "left kidney", "spleen")
ABDOMEN_CT = ("spleen", "right kidney", "left kidney", "gallbladder", "oesophagus", "liver")
ABDOMEN_CT += ("stomach", "aorta", "inferior vena cava", "portal and splenic vein", "pancreas")
ABDOMEN_CT += ("right adrenal", "left adrenal")


def abdomens(folder, names, unseen):
  """The fields of a set of volumes image_N.nii.gz with label_N.nii.gz beside them."""
  path = f"{DATA}/abdomen_ct_mr/{folder}"
  source = dict(
    name="paired_folder",
    images=path,
    masks=path,
    names=("background", *names),
    channels=(folder,),
    image_pattern="image_*",
    case=r"image_(\d+)",
    mask_pattern="label_{case}.nii.gz",
  )
  return dict(source=source, split=dict(name="explicit", validation=unseen))


def lungs(prefix, unseen):
  """The fields of one hospital's X-rays, whose files begin alike."""
  source = dict(
    name="paired_folder",
    images=f"{DATA}/cxr_lung/images",
    masks=f"{DATA}/cxr_lung/masks",
    names=("background", "lung"),
    values=(0, 255),
    channels=("xray",),
    image_pattern=f"{prefix}_*",
    case=rf"{prefix}_(\d+_\d)",
    mask_pattern=f"{prefix}_{{case}}.png",
  )
  return dict(source=source, split=dict(name="explicit", validation=unseen))


# domain -> what it is fed from, and the patients that are never trained on
DOMAINS = {
  "ct": abdomens("ct", ABDOMEN_CT, ("20", "28")),
  "mr": abdomens("mr", ORGANS, ("13", "15")),
  # every fifth of each hospital's, half of them with tuberculosis
  "montgomery": lungs(
    "MCUCXR",
    ("0008_0", "0022_0", "0041_0", "0087_0", "0113_1", "0251_1", "0289_1", "0383_1"),
  ),
  "shenzhen": lungs(
    "CHNCXR",
    ("0084_0", "0132_0", "0254_0", "0332_1", "0400_1", "0536_1", "0606_1", "0652_1"),
  ),
}
# pair -> domain with labels, domain that is scored
PAIRS = {
  "montgomery_to_shenzhen": ("montgomery", "shenzhen"),
  "mr_to_ct": ("mr", "ct"),
  "ct_to_mr": ("ct", "mr"),
}
PLANES = ("montgomery", "shenzhen")

# the stream of the target's training cases, for methods that learn from two domains another name
TARGET = "unlabelled"
STREAMS = dict.fromkeys(("sifa", "cyclegan", "synseg"), "target")
# the target's own labels instead of the source's: what adaptation could reach
CEILING = "target"
# generators make intensities from -1 to 1, of which brightness and contrast would leave
SHAPE = dict(spatial=dict(rotation=10.0, scale=(0.85, 1.15)))
ADAM = dict(name="adam", learning_rate=2e-4, b1=0.5)
FALLING = dict(**ADAM, schedule=dict(name="linear", begin=0.5))
CRITIC = dict(name="patch_critic", norm="instance")
GENERATOR = dict(name="resnet_generator", blocks=9, skip=True)
# of networks beside the one that predicts, published sizes; a short run has a quarter of the widths
WIDTHS = {"patch_critic": (64, 128, 256, 512), "resnet_generator": (64, 128, 256)}


def _later(value):
  """0 for a quarter of the steps, in which the network learns to segment at all, then `value`."""
  return dict(name="piecewise", at=(0.25,), values=(0.0, value))


ALIGNMENT = {
  "method": dict(name="feature_alignment", fool=_later(0.01)),
  # of the coarsest features, 16x16
  "networks": dict(critic=dict(name="patch_critic", widths=(128, 256), norm="none")),
  "optimisers": dict(critic=ADAM),
}
# method -> the fields of the config that it sets, by path; what it leaves out is the same for all
METHODS = {
  "source": {},
  "histogram": {"method": dict(name="restyled", style="histogram")},
  "fourier": {"method": dict(name="restyled", style="fourier", band=0.01)},
  "adabn": {"method": dict(name="adabn")},
  # of a network that is sure of what it does not know yet nothing is learnt any more
  "entropy": {"method": dict(name="entropy_minimisation", weight=_later(0.01))},
  "mmd": {"method": dict(name="mmd", weight=0.1)},
  "alignment": ALIGNMENT,
  "sifa": {
    "method": dict(name="sifa", head_weights=(1.0, 0.1)),
    "networks": dict(
      generator=GENERATOR,
      decoder=dict(name="feature_decoder", widths=(128, 64, 64, 32, 32)),
      critic=CRITIC,
      source_critic=dict(**CRITIC, scores=2),
      mask_critic=CRITIC,
      inner_critic=CRITIC,
    ),
    "optimisers": dict(generator=ADAM, critic=ADAM),
    "network.deep_supervision": 1,
    "augment": SHAPE,
  },
  "cyclegan": {
    "method": dict(name="cyclegan"),
    "task": dict(name="translation"),
    "network": GENERATOR,
    "networks": dict(critic=CRITIC),
    "loss": dict(l1=dict()),
    "optimiser": FALLING,
    "optimisers": dict(critic=FALLING),
    "augment": SHAPE,
    "data.batch": 1,
    # there is no image of the target that one of the source's should become
    "evaluate.streams": (),
  },
  "second_stage": {},
  # CyCADA: features of translated images and of the target's
  "cycada": ALIGNMENT,
  "synseg": {
    "method": dict(name="synseg"),
    "networks": dict(generator=GENERATOR, critic=CRITIC),
    "optimisers": dict(generator=FALLING, critic=FALLING),
    "augment": SHAPE,
    "data.batch": 2,
  },
  CEILING: {},
}

# the run that makes images of the target out of the source's, and who learns from these
TRANSLATOR, TRANSLATED = "cyclegan", ("second_stage", "cycada")
# of several seeds
COMPARED = ("source", CEILING, TRANSLATOR, "second_stage", "synseg")

PROTOCOLS = ("cpu", "published")
ARGUMENTS = {"pair": "montgomery_to_shenzhen", "protocol": "cpu", "run": ""}


def get_config(wanted="source"):
  method, pair, protocol, run = _arguments(wanted)
  source, target = PAIRS[pair]
  volumes = source not in PLANES
  config = defaults.config()
  main = DOMAINS[target if method == CEILING else source]
  config.data.source, config.data.split = main["source"], main["split"]
  if method in TRANSLATED:
    config.data.source = dict(name="translated", source=main["source"], run=run)
  config.data.normalise = dict(name="minmax", signed=True)
  # half of the slices with an organ; whole X-rays are the patch
  config.data.foreground = 0.5 if volumes else 0.0
  config.predictor = dict(name="sliding_window", overlap=0.5, batch=8)
  if volumes:
    config.data.classes = ORGANS
    config.data.slices = 0
    config.predictor.name = "slices"
  if method != CEILING:
    fed = DOMAINS[target]
    split = {**fed["split"], "labelled": 0}
    stream = STREAMS.get(method, TARGET)
    config.streams = {stream: dict(source=fed["source"], split=split, foreground=0.0)}
    config.evaluate.streams = (stream,)
  config.augment = dict(**SHAPE, brightness=dict(), contrast=dict())
  side = 256 if protocol == "published" else 128
  size = (None, side, side) if volumes else (side, side)
  config.data.resampling = dict(size=size, order=1, label_order=0)
  config.data.patch = (side, side)
  if protocol == "published":
    config.steps = 20_000
    config.data.batch = 8
    config.network = dict(name="unet", widths=(32, 64, 128, 256, 512), up="transpose")
    config.optimiser.learning_rate = 1e-3
  else:
    config.steps = 800
    config.data.batch = 4
    config.network = dict(name="unet", widths=(8, 16, 32, 64), up="transpose")
    config.optimiser.learning_rate = 2e-3
  # the source's unseen cases choose the best checkpoint; the target's are looked at once
  config.evaluate.every = config.steps // 4
  config.checkpoint_every = config.steps // 4
  defaults.assign(config, METHODS[method])
  if protocol == "cpu" and method == TRANSLATOR:
    # from half the size to the files' and back for the second stage: to the voxel, not blurred
    config.data.resampling.score_order = 0
  # so few steps want larger ones, of all generators and critics
  for spec in (config.optimiser, *config.optimisers.values()) if protocol == "cpu" else ():
    if spec.learning_rate == ADAM["learning_rate"]:
      spec.learning_rate = 1e-3
  if config.network.name in WIDTHS:
    config.network = _sized(config.network, 0, protocol)
  for role, spec in config.networks.items():
    config.networks[role] = _sized(spec, len(config.network.widths), protocol)
  return config


def _sized(spec, stages, protocol):
  """A network beside the one that predicts, which has that many stages."""
  spec = spec.to_dict()
  spec["widths"] = spec.get("widths", WIDTHS.get(spec["name"]))
  if spec["name"] == "feature_decoder":
    spec["widths"] = spec["widths"][:stages]
  if protocol == "cpu":
    spec["widths"] = tuple(width // 4 for width in spec["widths"])
    if "blocks" in spec:
      spec["blocks"] //= 2
  return spec


def _arguments(wanted):
  """METHOD,pair=...,protocol=...,run=... -> the four; raises ValueError for what is none."""
  method, *words = wanted.split(",")
  if method not in METHODS:
    raise ValueError(
      f"'{method}' is no method of this table{suggestion(method, METHODS)}; choices: "
      f"{', '.join(METHODS)}."
    )
  choices = {"pair": PAIRS, "protocol": PROTOCOLS}
  given = defaults.arguments(words, ARGUMENTS, "METHOD", choices)
  if (method in TRANSLATED) is not bool(given["run"]):
    raise ValueError(
      f"run={given['run']}: the folder of a run of {TRANSLATOR} on the same pair, which "
      f"{', '.join(TRANSLATED)} need and no other method takes; expected "
      f"{TRANSLATED[0]},pair={given['pair']},run=FOLDER."
    )
  return method, given["pair"], given["protocol"], given["run"]
