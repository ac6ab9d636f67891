"""A small config to be searched: phantoms, a tiny network, few steps."""

from typing import Any

from jaxseg import defaults

RATE = dict(low=1e-4, high=1e-1, log=True)


def config(folder, **search: Any):
  """The config, its data prepared in `folder`; `search` is config.search beside the space."""
  made = defaults.config()
  made.steps = 6
  made.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  made.data.source = dict(name="phantom", cases=10, size=(32, 32))
  made.data.split = dict(name="kfold", fold=0, folds=5)
  made.data.patch = (16, 16)
  made.data.batch = 2
  made.data.folder = str(folder / "prepared")
  made.data.workers = 1
  made.log_every = 2
  made.checkpoint_every = 3
  made.search = dict(space=dict(optimiser=dict(learning_rate=RATE)), **search)
  return made
