"""The planned recipe (configs/auto.py) on MSD hippocampus, reduced to what two CPU cores can train.

Papers: nnU-Net (arXiv 1904.08128); Decathlon (2106.05735).
Data: ../shared/data/msd_hippocampus, or any folder of Task04 (configs/hippocampus_auto.py:FOLDER).
Run: python train.py --config=configs/hippocampus_auto.py --workdir=runs/hippocampus_auto --fold=all
The full plan: the same with configs/auto.py. Reduced here: half the widths, a smaller patch, two
patches a step, and 600 steps of AdamW, which needs fewer than SGD does.
"""

import pathlib

from jaxseg import augment
from jaxseg.verbs.configs import load_config


def get_config(folder="../shared/data/msd_hippocampus"):
  config = load_config(f"{pathlib.Path(__file__).with_name('auto.py')}:{folder}")
  config.steps = 600
  config.network.widths = tuple(width // 2 for width in config.network.widths)
  config.optimiser = dict(
    name="adamw",
    learning_rate=3e-3,
    schedule=dict(name="warmup_polynomial", warmup=0.03, power=0.9),
    weight_decay=1e-2,
    l2=0.0,
    clip=12.0,
    accumulate=1,
  )
  config.average = 0.99
  config.data.patch = (32, 48, 32)
  config.data.batch = 2
  # front and back are what the labels tell apart; left and right are mirror images
  config.augment = {**augment.nnunet(3, config.data.patch), "mirror": dict(axes=(2,))}
  config.evaluate.every = 200
  config.checkpoint_every = 100
  return config
