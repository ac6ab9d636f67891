"""A data set and a run of toy size, in memory: blobs whose class follows from their brightness."""

import pathlib

import jax.numpy as jnp
import numpy as np
import optax

from jaxseg import augment, defaults, inference
from jaxseg.batch import LabelSpec
from jaxseg.build import plain
from jaxseg.compose import layout, method, networks_by_role
from jaxseg.data import RawCase
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.sampling import sampling
from jaxseg.data.stream import MAIN, Stream
from jaxseg.experiment import Experiment
from jaxseg.task import segmentation

LABELS = LabelSpec(("background", "dim", "bright"), (0, 5, 9))


def case(index: int, rank: int) -> dict[str, np.ndarray]:
  """A sample with two boxes; odd sizes, so that patches need padding along one axis."""
  random = np.random.default_rng(index)
  shape = tuple(int(n) for n in random.integers(14, 22, rank))
  label = np.zeros(shape, np.int32)
  for k in (1, 2):
    corner = [int(random.integers(0, n - 7)) for n in shape]
    label[tuple(slice(c, c + 6) for c in corner)] = k
  image = label.astype(np.float32) + 0.3 * random.standard_normal(shape).astype(np.float32)
  return {"image": image[..., None], "label": label, "spacing": np.ones(rank, np.float32)}


def dataset(cases: int = 6, rank: int = 2) -> Dataset:
  samples = [case(i, rank) for i in range(cases)]

  def locations(i):
    return {k: np.argwhere(samples[i]["label"] == k).astype(np.int32) for k in (1, 2)}

  def crop(i, start, size):
    region = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
    return {k: v if k == "spacing" else v[region] for k, v in samples[i].items()}

  return Dataset(
    names=tuple(f"case_{i}" for i in range(cases)),
    labels=LABELS,
    channels=("brightness",),
    rank=rank,
    preparation=Preparation(("brightness",), rank, ({"name": "none"},)),
    load=lambda i: dict(samples[i]),
    crop=crop,
    locations=locations,
    shape=lambda i: samples[i]["image"].shape[:-1],
    folder=pathlib.Path("nowhere"),
  )


def raw(name: str, rank: int) -> RawCase:
  """A case as a user's files would have it, its label in stored values."""
  sample = case(int(name.removeprefix("case_")), rank)
  stored = np.asarray(LABELS.stored_values, np.int32)[sample["label"]]
  return RawCase(sample["image"], stored, None, plain_geometry(stored.shape))


def experiment(*, rank: int = 2, scheme=None, **changes) -> Experiment:
  """A run of a few steps; `changes` override fields of the config by dotted name."""
  config = defaults.config()
  config.steps = 6
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.optimiser.learning_rate = 1e-2
  config.log_every = 2
  config.checkpoint_every = 2
  config.evaluate.every = 3
  config.data.patch = (16,) * rank
  config.data.batch = 2
  config.update_from_flattened_dict(changes)
  values = plain(config)
  data = dataset(rank=rank)
  patch = values["data"]["patch"]
  nets = networks_by_role(values, data.labels.channels)
  net = nets["network"]
  devices = layout(values, net)
  main = Stream(
    dataset=data,
    cases=(0, 1, 2, 3),
    sampling=sampling(rank, patch=patch, batch=values["data"]["batch"], seed=values["seed"]),
    augment=augment.chain({"mirror": augment.mirror, "noise": augment.noise}, patch),
  )
  return Experiment(
    config=values,
    method=scheme or method(values, nets, layout=devices),
    network=net,
    task=segmentation(data.labels),
    streams={MAIN: main},
    validation=(4, 5),
    watched=(4,),
    patch=patch,
    predict=lambda apply, c, **o: inference.sliding_window(
      apply, c, patch=patch, total_stride=net.total_stride(rank), batch=2, **o
    ),
    read=lambda name: raw(name, rank),
    layout=devices,
  )


def with_main(run: Experiment, **changes) -> Experiment:
  """The run with other values of its main stream."""
  return run._replace(streams={**run.streams, MAIN: run.main._replace(**changes)})


def with_dataset(run: Experiment, **changes) -> Experiment:
  """The run with other values of its main stream's data set."""
  return with_main(run, dataset=run.main.dataset._replace(**changes))


def sgd() -> optax.GradientTransformation:
  return optax.sgd(1e-2)


def diverging(run: Experiment, *, step: int) -> Experiment:
  """A run whose images are NaN from that step on."""
  method = run.method

  def train_step(state, batch, key):
    image = jnp.where(state.step >= step, jnp.nan, batch["image"])
    return method.train_step(state, {**batch, "image": image}, key)

  return run._replace(method=method._replace(train_step=train_step))
