"""U-Net on DRIVE: retinal vessels, trained on 16 of the training images, scored on the other 4.

Paper: Ronneberger et al., U-Net (arXiv 1505.04597); DRIVE: Staal et al., IEEE TMI 2004.
Data: ../shared/data/drive/training (images, 1st_manual, mask); scored inside the field of view.
Run: python train.py --config=configs/drive_unet.py --workdir=runs/drive
Score: vessel Dice 0.762 on the four images; 19 minutes of CPU time (docs/results/README.md).
"""

from jaxseg import defaults

ROOT = "../shared/data/drive/training"
# also of the other configs of this set
SOURCE = dict(
  name="paired_folder",
  images=f"{ROOT}/images",
  masks=f"{ROOT}/1st_manual",
  weights=f"{ROOT}/mask",
  names=("background", "vessel"),
  values=(0, 255),
  channels=("red", "green", "blue"),
  case=r"(\d+)_training",
  mask_pattern="{case}_manual1.gif",
  weight_pattern="{case}_training_mask.gif",
)


def get_config():
  config = defaults.config()
  config.steps = 500
  config.network = dict(name="unet", widths=(16, 32, 64, 128), up="transpose")
  config.optimiser.learning_rate = 2e-3
  config.average = 0.99

  config.data.source = SOURCE
  config.data.patch = (160, 160)
  config.data.batch = 8

  config.augment = dict(
    spatial=dict(rotation=180.0, scale=(0.8, 1.25)),
    brightness=dict(),
    contrast=dict(),
    gamma=dict(),
    mirror=dict(),
  )
  config.evaluate.every = 125
  return config
