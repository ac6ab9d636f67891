"""A small 3D U-Net on procedural volumes with neighbouring organs and lesions.

Paper: Cicek et al., 3D U-Net (arXiv 1606.06650), narrowed.
Run: python train.py --config=configs/unet_phantom3d.py --workdir=runs/phantom3d
"""

from jaxseg import defaults


def get_config():
  config = defaults.config()
  config.steps = 300
  config.network = dict(name="unet", widths=(8, 16, 32, 64), up="transpose", norm="instance")
  config.optimiser.learning_rate = 3e-3

  config.data.source = dict(name="phantom", cases=40, size=(64, 64, 64))
  config.data.patch = (48, 48, 48)
  config.data.batch = 2

  config.augment = dict(mirror=dict(), brightness=dict(), contrast=dict(), gamma=dict())
  config.predictor = dict(name="sliding_window", overlap=0.5, batch=2)
  config.evaluate.every = 100
  return config
