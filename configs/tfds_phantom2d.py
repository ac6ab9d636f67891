"""A small 2D U-Net on a set of TensorFlow Datasets, here the phantoms that jaxseg writes as one.

Paper: Ronneberger et al., U-Net (arXiv 1505.04597), at a quarter of the survey's widths.
Data: python -m jaxseg convert --config=configs/unet_phantom2d.py --format=tfds --cases=all
      --output=runs/tfds
Run: python train.py --config=configs/tfds_phantom2d.py --workdir=runs/tfds_phantom2d
Score: not measured apart; cases, network and steps are those of configs/unet_phantom2d.py.

Any other set that TFDS prepared as array_record is read likewise, with its classes named:
  dict(name="tfds", dataset="oxford_iiit_pet", names=("background", "pet", "border"),
       values=(2, 1, 3), case="file_name")
"""

import pathlib

from jaxseg.config.file import load_config


def get_config():
  config = load_config(str(pathlib.Path(__file__).with_name("unet_phantom2d.py")))
  config.data.source = dict(
    name="tfds", dataset="phantom2d", data_dir="runs/tfds", split="train+validation"
  )
  return config
