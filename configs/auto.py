"""nnU-Net's recipe for any data set: its plan, and with it everything else. The recommended way.

Papers: nnU-Net, Isensee et al. 2021 (arXiv 1809.10486, 1904.08128); its ResEnc presets,
arXiv 2404.09556.
Data: a folder in nnU-Net's raw format or the Decathlon's, a Decathlon task by name, or another
config's (auto.py:configs/drive_unet.py); default ../shared/data/msd_hippocampus.
Run: python train.py --config=configs/auto.py:/data/Dataset042_Liver --workdir=runs/liver --fold=all
     python train.py --config=configs/auto.py:/data/Dataset042_Liver,configuration=2d ...
After the data, separated by commas: configuration (3d_fullres if there is one, 2d, 3d_lowres,
3d_cascade_fullres with previous=RUNS of 3d_lowres), preset (default, resenc_m, resenc_l, resenc_xl,
resenc_80gb, cpu). The plan is made when training first starts, or by `jaxseg plan`, and kept in
plans/NAME: edit it there, or override any field on the command line. Cost: 250,000 steps, for an
accelerator; with preset=cpu 1,800 steps of a smaller network, ten minutes of two cores for small
volumes (hippocampi: Dice 0.884).
"""

from jaxseg import defaults
from jaxseg.build import suggestion

DATA = "../shared/data/msd_hippocampus"
OPTIONS = ("configuration", "preset", "previous")


def get_config(wanted=DATA):
  path, *words = wanted.split(",")
  given = dict(word.split("=", 1) if "=" in word else (word, "") for word in words)
  for option, value in given.items():
    if option not in OPTIONS or not value:
      raise ValueError(
        f"'{option}={value}' is no option{suggestion(option, OPTIONS)}; expected "
        f"DATA,NAME=VALUE with {', '.join(OPTIONS)}."
      )

  # network, augmentation, spacing, patch, batch, normalisation, split: what the plan says
  config = defaults.planned(path or DATA, **given)
  config.steps = 250_000
  config.optimiser = dict(
    name="sgd",
    momentum=0.99,
    nesterov=True,
    learning_rate=1e-2,
    schedule=dict(name="polynomial", power=0.9),
    weight_decay=0.0,
    l2=3e-5,  # what PyTorch's SGD calls weight decay
    clip=12.0,
    accumulate=1,
  )
  config.evaluate.every = 12_500  # fifty of nnU-Net's epochs
  config.evaluate.cases = 8
  config.checkpoint_every = 2_500
  return shortened(config) if given.get("preset") == "cpu" else config


def shortened(config):
  """AdamW, averaged, comes in hundreds of steps to where SGD needs thousands."""
  config.steps = 1800
  config.optimiser = dict(
    name="adamw",
    learning_rate=3e-3,
    schedule=dict(name="warmup_polynomial", warmup=0.03, power=0.9),
    weight_decay=1e-2,
    l2=0.0,
    clip=12.0,
    accumulate=1,
  )
  config.data.foreground = 0.33  # over time, whatever the batch
  config.average = 0.99
  config.evaluate.every = 300
  config.checkpoint_every = 100
  return config
