"""Configs of small runs on phantoms that look like CT, with labels, and like MR, without."""

from jaxseg import defaults

CT = dict(name="phantom", cases=4, size=(24, 20), appearance="ct", noise=5.0)
MR = dict(name="phantom", cases=3, size=(20, 24), appearance="mr", noise=5.0, seed=7)
HOUNSFIELD = dict(name="window", lower=-1000.0, upper=450.0, signed=True)
SIGNAL = dict(name="window", lower=0.0, upper=900.0, signed=True)
GENERATOR = dict(name="resnet_generator", widths=(4,), blocks=1)
CRITIC = dict(name="patch_critic", widths=(4,), norm="instance")
UNET = dict(name="unet", widths=(4, 6), depth=1, decoder_depth=1)


def _config(folder):
  made = defaults.config()
  made.steps = 2
  made.network = dict(UNET)
  made.networks = dict(critic=dict(CRITIC))
  made.optimisers = dict(critic=dict(name="adam", learning_rate=2e-4, b1=0.5))
  made.data.source = dict(CT)
  made.data.normalise = dict(HOUNSFIELD)
  made.data.split = dict(name="kfold", fold=0, folds=4)
  made.data.patch = (16, 16)
  made.data.batch = 2
  made.data.folder = str(folder)
  made.data.workers = 1
  made.streams = dict(target=dict(source=dict(MR, labelled=False), normalise=dict(SIGNAL)))
  made.augment = dict(mirror=dict())
  made.evaluate.every = 2
  made.checkpoint_every = 1
  return made


def _changed(made, changes):
  for field, value in changes.items():
    group, _, name = field.rpartition("__")
    setattr(getattr(made, group) if group else made, name, value)
  return made


def cyclegan(folder, **changes):
  made = _config(folder)
  made.method = dict(name="cyclegan", pool=3)
  made.task = dict(name="translation")
  made.network = dict(GENERATOR)
  made.loss = dict(l1=dict())
  return _changed(made, changes)


def synseg(folder, **changes):
  made = _config(folder)
  made.method = dict(name="synseg", pool=3)
  made.networks = dict(critic=dict(CRITIC), generator=dict(GENERATOR))
  return _changed(made, changes)


def second_stage(folder, run, **changes):
  """Supervised learning of the labels on what a run has made of their images."""
  made = _config(folder)
  made.networks, made.optimisers, made.streams = dict(), dict(), dict()
  made.data.source = dict(name="translated", source=dict(CT), run=str(run))
  made.data.normalise = dict(SIGNAL)
  return _changed(made, changes)
