"""Unpaired CT and MR of the abdomen: liver, both kidneys and spleen by one network or by several.

Paper: Dou, Liu, Heng and Glocker, "Unpaired multi-modal segmentation via knowledge distillation",
IEEE TMI 2020, 2001.03111; X-shaped sharing: Valindria et al., WACV 2018.
Data: ../shared/data/abdomen_ct_mr: 6 CT volumes (BTCV) and 8 MR volumes (CHAOS, T2-SPIR) of other
patients, two of each held out. Each slice is seen with its two neighbours, in 2D.
Run: python train.py --config=configs/unpaired.py:unpaired --workdir=runs/unpaired
     jaxseg predict --workdir runs/unpaired --domain mr --input SCANS --output MASKS
After the variant (one of VARIANTS), separated by commas: size ("cpu": 96x96, a quarter of the
widths, a run of minutes on one core; "published": 256x256, a batch of 8 slices of each modality,
for an accelerator).
The table of all variants: python benchmarks/unpaired.py (docs/domains.md).
"""

from jaxseg import defaults
from jaxseg.build import suggestion

DATA = "../shared/data/abdomen_ct_mr"
ORGANS = ("liver", "right kidney", "left kidney", "spleen")
IN_CT = ("spleen", "right kidney", "left kidney", "gallbladder", "oesophagus", "liver", "stomach")
IN_CT += ("aorta", "inferior vena cava", "portal and splenic vein", "pancreas")
IN_CT += ("right adrenal", "left adrenal")
HELD_OUT = {"ct": ("20", "28"), "mr": ("13", "15")}

# what each domain has of its own, as paths in the network, and the weight of the distillation
NORMS = ("norms",)
VARIANTS = {
  "individual": dict(own=("*",), distillation=0.0),  # two networks, each of one domain
  "joint": dict(own=(), distillation=0.0),  # one network, its norms too
  "norms": dict(own=NORMS, distillation=0.0),
  "unpaired": dict(own=NORMS),
  # encoders of their own, one decoder
  "y": dict(own=(*NORMS, "inner/encoder*"), distillation=0.0),
  # the two outer stages of encoder and decoder of their own, one middle
  "x": dict(
    own=(
      *NORMS,
      "inner/encoder1",
      "inner/encoder2",
      "inner/up1",
      "inner/decoder1",
      "inner/up2",
      "inner/decoder2",
      "inner/head",
    ),
    distillation=0.0,
  ),
}
SIZES = ("cpu", "published")
ARGUMENTS = {"size": "cpu"}


def volumes(modality, names):
  """The source of a modality's volumes image_N.nii.gz with label_N.nii.gz beside them."""
  folder = f"{DATA}/{modality}"
  return dict(
    name="paired_folder",
    images=folder,
    masks=folder,
    names=("background", *names),
    channels=(modality,),
    image_pattern="image_*",
    case=r"image_(\d+)",
    mask_pattern="label_{case}.nii.gz",
  )


def get_config(wanted="unpaired"):
  variant, size = _arguments(wanted)
  config = defaults.config()
  config.method = dict(name="unpaired", **VARIANTS[variant])
  config.data.source = volumes("ct", IN_CT)
  config.data.split = dict(name="explicit", validation=HELD_OUT["ct"])
  config.data.classes = ORGANS
  mr = dict(name="explicit", validation=HELD_OUT["mr"])
  config.streams = dict(mr=dict(source=volumes("mr", ORGANS), split=mr))
  config.evaluate.streams = ("main", "mr")
  config.data.normalise = "zscore"
  config.data.foreground = 0.5  # half of CT's slices hold no organ
  config.loss = dict(
    cross_entropy=dict(weight=1.0, class_weights="complement"),
    dice=dict(weight=1.0, include_background=False, batch=True),
  )
  config.augment = dict(
    spatial=dict(rotation=15.0, p_rotation=0.5, scale=(0.8, 1.25), p_scale=0.5, axes="inplane"),
    brightness=dict(),
    contrast=dict(),
    gamma=dict(),
  )
  config.optimiser = dict(
    name="adam",
    learning_rate=1e-3,
    schedule=dict(name="polynomial", power=0.9),
    weight_decay=0.0,
    l2=1e-4,
    # of all gradients together, so that one of two networks would feel the other's
    clip=0.0,
    accumulate=1,
  )
  if size == "published":
    _published(config)
  else:
    _cpu(config)
  # the cases that are held out are looked at once, at the end
  config.evaluate.every = config.steps
  config.checkpoint_every = config.steps // 4
  return config


def _published(config):
  """The paper's 2D setting: whole slices of 256x256, eight of each modality in a step."""
  _slices(config, size=256, depth=4, batch=2, widths=(64, 128, 256, 512, 1024))
  config.steps = 20_000


def _cpu(config):
  """An eighth of the pixels and a quarter of the widths, one stage less, 400 steps."""
  _slices(config, size=96, depth=3, batch=3, widths=(16, 32, 64, 128))
  config.steps = 400


def _slices(config, size, depth, batch, widths):
  """`batch` stacks of `depth` slices, each slice the centre of three once."""
  config.data.resampling = dict(size=(None, size, size), order=1, label_order=0)
  config.data.patch = (depth, size, size)
  config.data.batch = batch
  inner = dict(name="unet", widths=widths, up="transpose")
  config.network = dict(name="pseudo3d", slices=3, inner=inner)
  config.predictor = dict(name="sliding_window", overlap=0.5, batch=4)


def _arguments(wanted):
  """VARIANT,size=cpu -> both; raises ValueError for what is none."""
  variant, *words = wanted.split(",")
  if variant not in VARIANTS:
    raise ValueError(
      f"'{variant}' is no variant of this table{suggestion(variant, VARIANTS)}; choices: "
      f"{', '.join(VARIANTS)}."
    )
  return variant, defaults.arguments(words, ARGUMENTS, "VARIANT", {"size": SIZES})["size"]
