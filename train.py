"""Trains what a config names: python train.py --config=configs/unet_phantom2d.py --workdir=runs/x

Any field can be overridden: --config.data.split.fold=1 --config.steps=5000.
"""

from jaxseg.verbs import train

if __name__ == "__main__":
  train.main()
