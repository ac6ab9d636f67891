"""The planned recipe (configs/auto.py) on MSD hippocampus, reduced to what two CPU cores can train.

Papers: nnU-Net (arXiv 1904.08128); Decathlon (2106.05735).
Data: ../shared/data/msd_hippocampus, or any folder of Task04 (configs/hippocampus_auto.py:FOLDER).
Run: python train.py --config=configs/hippocampus_auto.py --workdir=runs/hippocampus_auto --fold=all
The full plan, for an accelerator: the same with configs/auto.py. The plan mirrors x alone, because
front and back are what the labels tell apart.
"""

import pathlib

from jaxseg.config.file import load_config


def get_config(folder="../shared/data/msd_hippocampus"):
  auto = pathlib.Path(__file__).with_name("auto.py")
  return load_config(f"{auto}:{folder},preset=cpu")
