"""A small 2D U-Net on a set of TensorFlow Datasets, here the phantoms that jaxseg writes as one.

Paper: Ronneberger et al., U-Net (arXiv 1505.04597), at a quarter of the survey's widths.
Data: python -m jaxseg convert --config=configs/unet_phantom2d.py --format=tfds --cases=all
      --output=runs/tfds
Run: python train.py --config=configs/tfds_phantom2d.py --workdir=runs/tfds_phantom2d
Score: that of configs/unet_phantom2d.py, whose cases these are.

Any other set that TFDS prepared as array_record is read likewise, with its classes named:
  dict(name="tfds", dataset="oxford_iiit_pet", names=("background", "pet", "border"),
       values=(2, 1, 3), case="file_name")
"""

from jaxseg import defaults


def get_config():
  config = defaults.config()
  config.steps = 330
  config.network = dict(name="unet", widths=(16, 32, 64, 128), up="transpose")
  config.optimiser.learning_rate = 3e-3
  config.average = 0.98

  config.data.source = dict(
    name="tfds", dataset="phantom2d", data_dir="runs/tfds", split="train+validation"
  )
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
