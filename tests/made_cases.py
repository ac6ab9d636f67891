"""Tiny runs that make label maps of noise and images of labels, for tests of what is made."""

import run_folders

from jaxseg import defaults, loop
from jaxseg.experiment import experiment

PATCH = (16, 16)
SOURCE = dict(name="phantom", cases=10, size=(24, 20), seed=5)
WINDOW = dict(name="window", lower=-1000.0, upper=500.0, signed=True)
CRITIC = dict(name="patch_critic", widths=(4, 8), norm="instance")


def config(prepared, part="masks", **changes):
  """A config of a few steps; `changes` by field, __ for the dots."""
  c = defaults.config()
  c.steps = 2
  c.log_every = 1
  c.data.folder = str(prepared)
  c.data.source = dict(SOURCE)
  c.data.normalise = WINDOW
  c.data.patch = PATCH
  c.data.batch = 2
  c.evaluate.every = 2
  c.evaluate.cases = 1
  c.predictor = dict(name="sliding_window", overlap=0.0, batch=1)
  c.optimiser = dict(name="adam", learning_rate=1e-3)
  if part == "masks":
    c.task = dict(name="masks")
    c.method = dict(name="mask_gan")
    c.network = dict(name="mask_generator", widths=(4, 8), latent=4)
    c.networks = dict(critic=CRITIC)
  elif part == "images":
    c.task = dict(name="synthesis", inputs="label", targets=("portal",), data_range=1500.0)
    c.method = dict(name="pix2pix")
    c.network = dict(name="unet_generator", channels=1, widths=(4, 8, 8), norm="instance")
    c.networks = dict(critic=CRITIC)
    c.loss = dict(l1=dict(weight=100.0))
  else:
    c.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  for name, value in changes.items():
    *groups, field = name.split("__")
    of = c
    for group in groups:
      of = of[group]
    of[field] = value
  return c


def trained(prepared, folder, part, **changes):
  """The folder of a run, trained."""
  loop.train(experiment(config(prepared, part, **changes)), folder)
  return folder


def untrained(prepared, folder, part, **changes):
  """The folder of a run as training leaves it, with weights that were never trained."""
  run = experiment(config(prepared, part, **changes))
  return run_folders.leave(folder, run, step=run.config["steps"])
