"""SAUNet on Sunnybrook's short-axis slices: the left ventricle's cavity; and U-Net beside it.

Paper: Sun et al., SAUNet (arXiv 2001.07645); data: Radau et al., MIDAS 2009.
Data: ../shared/data/sunnybrook_lv, 260 slices of 15 patients; a patient's slices stay together.
Run: python train.py --config=configs/sunnybrook_saunet.py:small --workdir=runs/saunet
After the colon: "small" (the default; whole images of 128x128), some 8 minutes of one core; "unet",
U-Net for as many steps; "published", the paper's network, optimiser and length, for an accelerator.
"""

from jaxseg import defaults
from jaxseg.build import suggestion

ROOT = "../shared/data/sunnybrook_lv"
# also of the other configs of this set, at other sizes
SOURCE = dict(
  name="paired_folder",
  images=f"{ROOT}/images",
  masks=f"{ROOT}/labels",
  names=("background", "left ventricle"),
  values=(0, 255),
)
SPLIT = dict(name="kfold", fold=0, folds=5, group=r"SC-([A-Z-]+-\d+)")
AUGMENT = dict(
  spatial=dict(rotation=180.0, scale=(0.8, 1.25)),
  brightness=dict(),
  contrast=dict(),
  gamma=dict(),
  mirror=dict(),
)

SAUNET = dict(name="edge_supervision")
# at a batch of 4 instance norm, as in configs/networks_2d.py
NORM = dict(norm="instance")
# whole images: in a patch an edge is also where it was cut, and nothing tells where the heart is
REDUCED = dict(size=(128, 128), order=1, label_order=0)
VARIANTS = {
  "small": {
    "network": dict(
      name="shape_attentive",
      encoder=dict(name="densenet121", blocks=(2, 4, 6, 4), growth=8, width=16, **NORM),
      centre_width=64,
      widths=(64, 32, 24, 16),
      shape_widths=(16, 8, 8, 4),
      head_widths=(24, 16),
      reduction=4,
      **NORM,
    ),
    "method": SAUNET,
    "data.resampling": REDUCED,
  },
  "unet": {
    "network": dict(name="unet", widths=(16, 32, 64, 128), **NORM),
    "data.resampling": REDUCED,
  },
  # 120 epochs of some 208 slices one by one; the paper's class weights (1, 4, 5, 1) are those of
  # ACDC's background, right ventricle, myocardium, and the 1 of its left ventricle holds here
  "published": {
    "network": dict(name="shape_attentive"),
    "method": SAUNET,
    "optimiser.name": "adam",
    "optimiser.learning_rate": 5e-4,
    "optimiser.schedule": dict(name="cosine"),
    "optimiser.weight_decay": 1e-4,
    "average": 0.0,
    "steps": 25_000,
    "data.patch": (256, 256),
    "data.batch": 1,
    "evaluate.every": 2_500,
  },
}


def get_config(variant="small"):
  if variant not in VARIANTS:
    raise ValueError(
      f"'{variant}' is no variant{suggestion(variant, VARIANTS)}; choices: {', '.join(VARIANTS)}."
    )
  config = defaults.config()
  config.steps = 600
  config.optimiser.learning_rate = 2e-3
  config.average = 0.99

  config.data.source = SOURCE
  config.data.split = SPLIT
  config.data.patch = (128, 128)
  config.data.batch = 4

  config.augment = AUGMENT
  config.evaluate.every = 300
  defaults.assign(config, VARIANTS[variant])
  return config
