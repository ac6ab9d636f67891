"""A small 2D U-Net on procedural phantoms: the demo, nothing to download.

Paper: Ronneberger et al., U-Net (arXiv 1505.04597), at a quarter of the survey's widths.
Run: python train.py --config=configs/unet_phantom2d.py --workdir=runs/phantom2d
Score: mean foreground Dice 0.904 on 32 unseen phantoms; just under 5 minutes on two CPU cores.
"""

from jaxseg import defaults


def get_config():
  config = defaults.config()
  config.steps = 330
  config.network = dict(name="unet", widths=(16, 32, 64, 128), up="transpose")
  config.optimiser.learning_rate = 3e-3
  config.average = 0.98

  config.data.source = dict(name="phantom", cases=160, size=(128, 128))
  config.data.patch = (128, 128)
  config.data.batch = 8

  config.augment = dict(
    mirror=dict(),
    spatial=dict(rotation=15.0, scale=(0.85, 1.2)),
    brightness=dict(),
    contrast=dict(),
    gamma=dict(),
  )
  config.predictor = dict(name="sliding_window", overlap=0.5, batch=1)
  config.evaluate.every = 120
  return config
