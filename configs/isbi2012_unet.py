"""U-Net on the ISBI 2012 EM stack: membranes, trained on sections 0-23, scored on the last six.

Paper: Ronneberger et al., U-Net (arXiv 1505.04597).
Data: ../shared/data/isbi2012_em (train/image, train/label; 0 = membrane, 255 = interior).
Run: python train.py --config=configs/isbi2012_unet.py --workdir=runs/isbi2012
Score: membrane Dice 0.795 on the six sections; 8 minutes of CPU time (docs/results/README.md).
"""

from jaxseg import defaults


def get_config():
  config = defaults.config()
  config.steps = 160
  config.network = dict(name="unet", widths=(16, 32, 64, 128), up="transpose")
  config.optimiser.learning_rate = 2e-3
  config.average = 0.99

  config.data.source = dict(
    name="paired_folder",
    images="../shared/data/isbi2012_em/train/image",
    masks="../shared/data/isbi2012_em/train/label",
    names=("interior", "membrane"),
    values=(255, 0),
  )
  # neighbouring sections are nearly the same picture: hold out a block, not a random choice
  config.data.split = dict(name="blocks", holdout=6)
  config.data.patch = (256, 256)
  config.data.batch = 4
  config.data.foreground = 0.0

  config.augment = dict(
    spatial=dict(rotation=180.0, scale=(0.8, 1.25)),
    brightness=dict(),
    contrast=dict(),
    gamma=dict(),
    mirror=dict(),
  )
  config.evaluate.every = 80
  return config
