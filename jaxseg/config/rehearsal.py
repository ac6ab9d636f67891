"""A training step and a prediction on shapes alone: what is wrong is told before data are read."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import FIELDS, LabelSpec, inputs, kind
from jaxseg.build import suggestion
from jaxseg.config.synthesis import SYNTHESIS
from jaxseg.data.stream import MAIN, nested
from jaxseg.inference import Case
from jaxseg.method import Method, State
from jaxseg.task import Task


def batch_shapes(
  shape: Sequence[int],
  channels: int,
  labels: LabelSpec,
  *,
  labelled: bool = True,
  weighted: bool = False,
  fields: Sequence[str] = (),
  made: int = 0,
) -> dict[str, jax.ShapeDtypeStruct]:
  """The batch that training will be fed, (b, *patch) = shape, without its values.

  `labelled` tells whether labels and weights are among them, `weighted` that weights are whatever
  the labels, `fields` are those that are there
  besides image, label, weight and spacing; `made` is the number of channels of an image that is to
  be made.
  """
  named = [labels.field, *fields] if labelled else [*fields]
  out = {
    "image": jax.ShapeDtypeStruct((*shape, channels), jnp.float32),
    "spacing": jax.ShapeDtypeStruct((shape[0], len(shape) - 1), jnp.float32),
  }
  if labelled and (weighted or labels.ignore is not None):
    named.append("weight")
  if made:
    out["target_image"] = jax.ShapeDtypeStruct((*shape, made), jnp.float32)
  for field in named:
    of = (labels.channels,) if kind(field).channels else ()
    of = (channels,) if kind(field).per_channel else of
    size = shape if kind(field).spatial else shape[:1]
    out[field] = jax.ShapeDtypeStruct((*size, *of), kind(field).dtype)
  return out


class Part(NamedTuple):
  """A stream's part of a batch: what mixes its samples, and its fields' shapes."""

  mix: Callable
  shapes: Mapping[str, jax.ShapeDtypeStruct]


def _output(method: Method, task: Task, state: State, part: Part) -> None:
  """Traces what the method gives; raises ValueError unless it is what the task needs."""
  outputs = jax.eval_shape(method.apply, state, inputs(part.shapes))
  if task.output not in outputs:
    raise ValueError(
      f"config.method: gives {', '.join(sorted(outputs))}, but config.task '{task.name}' needs "
      f"'{task.output}'; expected another method"
      + (", as 'regression'." if task.name == SYNTHESIS else ".")
    )
  channels = outputs[task.output].shape[-1]
  if channels != task.channels:
    raise ValueError(
      f"config.network: gives {channels} channel(s), but config.task '{task.name}' needs "
      f"{task.channels}: {', '.join(task.scored)}."
    )


def augment(chain: Callable, batch: Mapping[str, jax.ShapeDtypeStruct]) -> None:
  """Traces the transforms of one sample; `batch` is of crops."""
  sample = {name: jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for name, x in batch.items()}
  jax.eval_shape(chain, jax.eval_shape(lambda: jax.random.key(0)), sample)


def train(
  method: Method, parts: Mapping[str, Part], task: Task, *, scored: Sequence[str] = ()
) -> State:
  """Traces the mixtures, the initialisation, an output and one step; returns the state's shapes.

  Raises ValueError in words, whatever is raised on the way; for a stream that the method makes no
  use of (unless its cases are `scored`), or lacks; for an output that is not the task's.
  """

  def mixed(key, batches):
    return nested({name: part.mix(key, batches[name]) for name, part in parts.items()})

  main = parts[MAIN].shapes
  space, channels = main["image"].shape[1:-1], main["image"].shape[-1]
  shapes = {name: dict(part.shapes) for name, part in parts.items()}
  key = jax.eval_shape(lambda: jax.random.key(0))
  where = f"config: patches {space} of {channels} channel(s) cannot be trained on"
  with _stream_told(method, parts), one_line_errors(where):
    batch = jax.eval_shape(mixed, key, shapes)
    state = jax.eval_shape(method.init, key, batch)
    # a method of another task fails in its step, too, and not in these words
    _output(method, task, state, parts[MAIN])
    if len(parts) == 1:
      return jax.eval_shape(method.train_step, state, batch, key)[0]
    step = jax.make_jaxpr(method.train_step, return_shape=True)
    program, (after, _) = step(state, batch, key)
  unused = set(parts) - {MAIN, *scored} - _read(program.jaxpr, len(jax.tree.leaves(state)), batch)
  if unused:
    name = min(unused)
    raise ValueError(
      f"config.streams.{name}: the method makes no use of it; leave the stream out, or choose a "
      f"method that is fed from a stream of this name (config.method)."
    )
  return after


def _read(program, first: int, batch) -> set[str]:
  """The entries of a batch that a traced step reads; its arguments from `first` on are theirs."""
  read = {id(value) for equation in program.eqns for value in equation.invars}
  entries = [path[0].key for path, _ in jax.tree_util.tree_leaves_with_path(batch)]
  values = program.invars[first : first + len(entries)]
  return {name for name, value in zip(entries, values, strict=True) if id(value) in read}


@contextlib.contextmanager
def _stream_told(method: Method, parts: Mapping[str, Part]) -> Iterator[None]:
  """Says which stream it is that a method lacks or cannot train on, where that shows."""
  try:
    yield
  except ValueError as error:
    missing = error.__cause__.args[0] if isinstance(error.__cause__, KeyError) else None
    further = {name: part.shapes for name, part in parts.items() if name != MAIN}
    if (
      isinstance(missing, str) and missing not in FIELDS and not _is_stream(method, parts, missing)
    ):
      raise ValueError(
        f"config.method: needs '{missing}', which is no stream, nor does a network give it; "
        "expected other networks for its roles (config.network, config.networks)."
      ) from error
    if isinstance(missing, str) and missing not in FIELDS:
      raise ValueError(
        f"config.streams: the method is fed from a stream '{missing}', which there is not"
        f"{suggestion(missing, further)}; the streams: {', '.join(further) or 'none'}."
      ) from error
    for name, shapes in further.items():
      if missing is not None and missing not in shapes:
        without = "its cases have no labels" if kind(missing).target else f"it has no '{missing}'"
        raise ValueError(f"config.streams.{name}: {without}, which the method needs.") from error
      ours, theirs = (of["image"].shape[-1] for of in (parts[MAIN].shapes, shapes))
      if ours != theirs:
        raise ValueError(
          f"config.streams.{name}: its images have {theirs} channel(s), the main stream's {ours}, "
          f"and the method cannot be trained on both ({error})"
        ) from error
    raise


def _is_stream(method: Method, parts: Mapping[str, Part], missing: str) -> bool:
  """Whether what a method lacks is found once there is a stream of that name."""
  batch = nested({name: dict(part.shapes) for name, part in parts.items()})
  batch = {**batch, missing: dict(parts[MAIN].shapes)}
  key = jax.eval_shape(lambda: jax.random.key(0))
  try:
    jax.eval_shape(method.train_step, jax.eval_shape(method.init, key, batch), batch, key)
  except KeyError as error:
    return error.args[0] != missing
  except Exception:
    # what else is wrong is told once the stream is there
    return True
  return True


def init(method: Method, parts: Mapping[str, Part], inputs: int = 0) -> State:
  """Traces the initialisation alone, with so many more channels of every image.

  Raises ValueError whatever is raised on the way.
  """

  def shapes(part: Part):
    wider = {"image", *(field for field in part.shapes if kind(field).per_channel)}
    more = {
      field: jax.ShapeDtypeStruct((*of.shape[:-1], of.shape[-1] + inputs), of.dtype)
      for field, of in part.shapes.items()
      if field in wider
    }
    return {**part.shapes, **more}

  batch = nested({name: shapes(part) for name, part in parts.items()})
  with one_line_errors("config: the method cannot be initialised"):
    return jax.eval_shape(method.init, jax.eval_shape(lambda: jax.random.key(0)), batch)


@contextlib.contextmanager
def one_line_errors(where: str) -> Iterator[None]:
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
  with one_line_errors("config.predictor"):
    predictor(apply, case, patch=patch)
