"""Configs of small runs that make one channel of a phantom of others."""

from jaxseg import defaults

SOURCE = dict(name="phantom", cases=5, size=(24, 20), appearance="mr", channels=3, noise=5.0)
TASK = dict(name="synthesis", inputs=("t1", "pd"), targets=("t2",))


def config(folder, **changes):
  made = defaults.config()
  made.steps = 2
  made.task = dict(TASK)
  made.method = dict(name="regression")
  made.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  made.loss = dict(l1=dict(), ssim=dict(weight=0.5))
  made.data.source = dict(SOURCE)
  made.data.patch = (16, 16)
  made.data.batch = 2
  made.data.folder = str(folder)
  made.data.workers = 1
  made.augment = dict(mirror=dict())
  made.evaluate.every = 1
  for field, value in changes.items():
    group, _, name = field.rpartition("__")
    setattr(getattr(made, group) if group else made, name, value)
  return made
