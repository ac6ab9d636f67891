"""Trains what a config names: python train.py --config=configs/unet_phantom2d.py --workdir=runs/x

Any field can be overridden: --config.data.split.fold=1 --config.steps=5000.
--fold=all trains all folds, --seeds=0,1,2 several seeds, each in a run folder of its own; with
--together in one program, on several devices at the same time (--config.mesh.member=4).
"""

from jaxseg.verbs import train

if __name__ == "__main__":
  train.main()
