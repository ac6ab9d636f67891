"""2D U-Net on the slices of ACDC cine MRI: right ventricle, myocardium, left ventricle.

Paper: Ronneberger et al., U-Net (arXiv 1505.04597); ACDC: Bernard et al., IEEE TMI 2018.
Data: ../shared/data/acdc, HDF5 volumes (slice, y, x); the two phases of a patient stay together.
Run: python train.py --config=configs/acdc_unet.py --workdir=runs/acdc
"""

from jaxseg import defaults


def get_config():
  config = defaults.config()
  config.steps = 1000
  config.network = dict(name="unet", widths=(16, 32, 64, 128), up="transpose")
  config.optimiser.learning_rate = 2e-3
  config.average = 0.99

  config.data.source = dict(
    name="h5",
    path="../shared/data/acdc",
    names=("background", "right ventricle", "myocardium", "left ventricle"),
  )
  config.data.split = dict(name="kfold", fold=0, folds=4, seed=12345, group=r"(patient\d+)_")
  config.data.slices = 0
  config.data.patch = (160, 160)
  config.data.batch = 8

  config.augment = dict(
    spatial=dict(rotation=180.0, scale=(0.7, 1.4)),
    noise=dict(),
    brightness=dict(),
    contrast=dict(),
    gamma=dict(),
    mirror=dict(),
  )
  config.predictor = dict(name="slices", overlap=0.5, batch=8)
  config.evaluate.every = 125
  return config
