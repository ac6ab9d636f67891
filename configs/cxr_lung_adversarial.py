"""Lungs in chest X-rays with a critic beside the network, and without: the same budget for all.

Papers: those of configs/drive_adversarial.py, whose VARIANTS these are; SCAN (Dai et al. 2018,
1703.08770) is of lungs, on whole images of 400x400 pixels.
Data: ../shared/data/cxr_lung, 40 images of Montgomery County and 40 of Shenzhen, at 128x128 pixels;
a fifth validates, scored at the images' own size with the last step.
Run: python train.py --config=configs/cxr_lung_adversarial.py:scan --workdir=runs/cxr_scan
After the colon: one of VARIANTS, "supervised" if there is none. The table of all of them, three
seeds each: python benchmarks/few_labels.py (docs/few_labels.md).
"""

import pathlib
import runpy

from jaxseg import defaults
from jaxseg.build import suggestion

DRIVE = runpy.run_path(str(pathlib.Path(__file__).parent / "drive_adversarial.py"))
VARIANTS = DRIVE["VARIANTS"]


def get_config(variant="supervised"):
  if variant not in VARIANTS:
    raise ValueError(
      f"'{variant}' is no variant{suggestion(variant, VARIANTS)}; choices: {', '.join(VARIANTS)}."
    )
  config = defaults.config()
  config.steps = 300
  config.network = dict(name="unet", widths=(8, 16, 32, 64), up="transpose")
  config.optimiser.learning_rate = 2e-3
  config.average = 0.99
  root = "../shared/data/cxr_lung"
  config.data.source = dict(
    name="paired_folder",
    images=f"{root}/images",
    masks=f"{root}/masks",
    names=("background", "lung"),
    values=(0, 255),
    channels=("xray",),
  )
  config.data.resampling = dict(size=(128, 128), order=1, label_order=0)
  config.data.patch = (128, 128)
  config.data.batch = 6
  config.data.foreground = 0.0
  config.augment = dict(
    spatial=dict(rotation=10.0, scale=(0.85, 1.15)), brightness=dict(), contrast=dict()
  )
  config.evaluate.every = config.steps
  return DRIVE["with_critic"](config, VARIANTS[variant])
