"""A training step and a prediction on shapes alone: what is wrong is told before data are read."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import LabelSpec, kind
from jaxseg.inference import Case
from jaxseg.method import Method, State


def batch_shapes(
  shape: Sequence[int],
  channels: int,
  labels: LabelSpec,
  *,
  fields: Sequence[str] = (),
) -> dict[str, jax.ShapeDtypeStruct]:
  """The batch that training will be fed, (b, *patch) = shape, without its values.

  `fields` are those that are there besides image, label, weight and spacing.
  """
  named = [labels.field, *fields]
  out = {
    "image": jax.ShapeDtypeStruct((*shape, channels), jnp.float32),
    "spacing": jax.ShapeDtypeStruct((shape[0], len(shape) - 1), jnp.float32),
  }
  for field in [*named, "weight"] if labels.ignore is not None else named:
    of = (labels.channels,) if kind(field).channels else ()
    out[field] = jax.ShapeDtypeStruct((*shape, *of), kind(field).dtype)
  return out


def train(method: Method, mix: Callable, batch: Mapping[str, jax.ShapeDtypeStruct]) -> State:
  """Traces the mixture, the initialisation and one step; returns the shapes of the state.

  Raises ValueError in words, whatever is raised on the way.
  """

  def run(key, batch):
    mixed = mix(key, batch)
    state = method.init(key, mixed)
    return method.train_step(state, mixed, key)[0]

  space, channels = batch["image"].shape[1:-1], batch["image"].shape[-1]
  with told(f"config: patches {space} of {channels} channel(s) cannot be trained on"):
    return jax.eval_shape(run, jax.eval_shape(lambda: jax.random.key(0)), dict(batch))


@contextlib.contextmanager
def told(where: str) -> Iterator[None]:
  """Makes whatever is raised in the block a ValueError of one line that begins with `where`."""
  try:
    yield
  except Exception as error:
    # JAX's and Flax's own messages are pages; the first line says what happened
    text = (str(error).strip().splitlines() or ["no words are given"])[0]
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    start = "" if text.startswith("config.") else f"{where}: "
    raise ValueError(f"{start}{kind}{text}") from error


def predict(
  predictor: Callable, network, channels: int, classes: int, *, rank: int, slices: int | None
) -> None:
  """Runs a predictor over a case of one small window; raises ValueError for a bad option."""
  sides = zip(network.total_stride(rank), network.margin(rank), strict=True)
  patch = tuple(-(-(2 * margin + 1) // stride) * stride for stride, margin in sides)
  space = patch if slices is None else (*patch[:slices], 1, *patch[slices:])

  def apply(inputs):
    image = np.asarray(inputs["image"])
    inner = (n - 2 * m for n, m in zip(image.shape[1:-1], network.margin(rank), strict=True))
    return {"logits": np.zeros((len(image), *inner, classes), np.float32)}

  fields = {"image": np.zeros((*space, channels), np.float32)}
  case = Case({**fields, "spacing": np.ones(len(space), np.float32)})
  with told("config.predictor"):
    predictor(apply, case, patch=patch)
