"""What a step of training costs beside its own forward and backward passes, method by method.

Usage: python benchmarks/step_time.py [--only PATTERN ...] [--rounds 5] [--again] [--table]

A step is a method's own (losses, updates and teachers included; sampling and augmentation are
not). Its passes are the calls of its networks, found while it is traced: each is a program of its
own, forward alone where nothing of it is learnt. A second half of a pass that is made again, of
perturbed features, counts as a whole one. Step and passes are timed in turns, so that a busy
machine slows both; a figure is the median of the rounds. Images are random numbers of the size that
configs/few_labels.py has: no data are read. Methods are those of that config, `adversarial` (of
configs/drive_adversarial.py) and `distillation` (a teacher of the student's kind), and `copy_paste`
once more at its published size.

Rows are kept in docs/step_time.json as soon as they are there, and those that are there are not
measured again without --again; the table is written into docs/few_labels.md.
"""

import argparse
import contextlib
import fnmatch
import math
import pathlib
import runpy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from run_rows import ROOT, Table
from table_text import write_between

from jaxseg.batch import LabelSpec
from jaxseg.build import plain
from jaxseg.compose import complete, method, networks_by_role
from jaxseg.config.file import load_config
from jaxseg.config.rehearsal import batch_shapes
from jaxseg.methods import unimatch

FEW, DRIVE = "configs/few_labels.py", "configs/drive_adversarial.py"
PUBLISHED = "copy_paste"
LARGEST = 1.15  # what the project allows


class Pass(NamedTuple):
  """A call of a network while a step is traced.

  Attributes:
    network: the module.
    variables, inputs: their shapes.
    options: of `apply`.
    learns: whether its parameters are differentiated.
    through: which of its inputs are.
    times: how often a step makes it.
  """

  network: nn.Module
  variables: Any
  inputs: tuple
  options: dict[str, Any]
  learns: bool
  through: tuple[int, ...]
  times: int


def passes(step: Callable, *shapes) -> list[Pass]:
  """The calls of networks in a step, in their order."""
  calls, times, unseen = [], [1], []
  apply, scan, shapes_of = nn.Module.apply, jax.lax.scan, jax.eval_shape

  def shape_of(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype)

  def differentiated(tree) -> bool:
    kinds = {type(leaf).__name__ for leaf in jax.tree.leaves(tree)}
    return bool(kinds & {"JVPTracer", "LinearizeTracer"})

  def noting(net, variables, *inputs, **options):
    through = tuple(i for i, x in enumerate(inputs) if differentiated(x))
    learns = differentiated(variables["params"])
    inside = jax.tree.map(shape_of, (variables, inputs))
    rngs = options.get("rngs")
    told = {**options, "rngs": None if rngs is None else tuple(rngs)}
    if not unseen:
      calls.append(Pass(net, *inside, told, learns, through, times[-1]))
    return apply(net, variables, *inputs, **options)

  def counting(function, carry, items=None, length=None, **options):
    number = length or len(jax.tree.leaves(items)[0])

    def once(*arguments):
      times.append(times[-1] * number)
      try:
        return function(*arguments)
      finally:
        times.pop()

    return scan(once, carry, items, length, **options)

  def shapes_alone(*arguments, **options):
    unseen.append(True)
    try:
      return shapes_of(*arguments, **options)
    finally:
      unseen.pop()

  def whole(function, *arguments):
    return [], lambda features: function(*arguments)

  with (
    mock.patch.object(unimatch, "encode", whole),
    mock.patch.object(nn.Module, "apply", noting),
    mock.patch.object(jax.lax, "scan", counting),
    # what is asked for its shapes is no part of the program
    mock.patch.object(jax, "eval_shape", shapes_alone),
  ):
    shapes_of(step, *shapes)
  return calls


def program(of: Pass) -> tuple[Callable, tuple]:
  """A pass by itself, and its arguments."""

  def outputs(params, variables, through, inputs):
    given = list(inputs)
    for at, x in zip(of.through, through, strict=True):
      given[at] = x
    rngs = of.options["rngs"] and dict.fromkeys(of.options["rngs"], jax.random.key(0))
    options = {**of.options, "rngs": rngs}
    made = of.network.apply({**variables, "params": params}, *given, **options)
    return made if of.options.get("mutable") is not None else (made, {})

  def total(params, variables, through, inputs):
    made, stats = outputs(params, variables, through, inputs)
    floats = [x for x in jax.tree.leaves(made) if jnp.issubdtype(x.dtype, jnp.floating)]
    return sum(jnp.mean(jnp.square(x.astype(jnp.float32))) for x in floats), stats

  variables, inputs = numbers((of.variables, of.inputs))
  params = variables.pop("params")
  arguments = (params, variables, tuple(inputs[at] for at in of.through), inputs)
  by = tuple(at for at, on in ((0, of.learns), (2, bool(of.through))) if on)
  function = jax.value_and_grad(total, by, has_aux=True) if by else outputs
  return compiled(function, arguments), arguments


def compiled(function: Callable, arguments) -> Callable:
  return jax.jit(function).lower(*arguments).compile()


def numbers(shapes, seed: int = 0):
  """Arrays of these shapes: floats between 0 and 1, keys, and zeros of what counts."""
  random = np.random.default_rng(seed)

  def of(shape):
    if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
      return jax.random.key(seed)
    if jnp.issubdtype(shape.dtype, jnp.floating):
      return jnp.asarray(random.random(shape.shape), shape.dtype)
    return jnp.zeros(shape.shape, shape.dtype)

  return jax.tree.map(of, shapes)


def configs() -> dict[str, tuple[Any, int, int]]:
  """Name -> config, number of classes, number of channels."""
  out = {}
  for name in runpy.run_path(str(ROOT / FEW))["METHODS"]:
    out[name] = load_config(str(ROOT / f"{FEW}:{name}")), 4, 1
  # at its published size, where its losses weigh less
  out[f"{PUBLISHED}_published"] = (
    load_config(str(ROOT / f"{FEW}:{PUBLISHED},protocol=published")),
    4,
    1,
  )
  out["adversarial"] = load_config(str(ROOT / f"{DRIVE}:luc")), 2, 3
  taught = load_config(str(ROOT / f"{FEW}:supervised"))
  taught.method = dict(name="distillation")
  taught.networks = dict(teacher=plain(taught.network))
  out["distillation"] = taught, 4, 1
  return out


def parts(config, classes: int, channels: int) -> tuple[Callable, tuple]:
  """A method's step, and a state, a batch and a key to take it with."""
  config = complete(plain(config))
  labels = LabelSpec(tuple(f"class{i}" for i in range(classes)), tuple(range(classes)))
  shape = (config["data"]["batch"], *config["data"]["patch"])
  batch = batch_shapes(shape, channels, labels)
  for name, stream in config["streams"].items():
    own = (stream.get("data", {}).get("batch", shape[0]), *shape[1:])
    batch[name] = batch_shapes(own, channels, labels, labelled=False)
  scheme = method(config, networks_by_role(config, classes))
  values = numbers(batch)
  values["label"] = jnp.asarray(
    np.random.default_rng(1).integers(0, classes, values["label"].shape), jnp.int32
  )
  state = jax.jit(scheme.init)(jax.random.key(0), values)
  # when ramps and weights of guesses have risen
  state = state.replace(step=jnp.asarray(config["steps"] * 3 // 4, jnp.int32))
  return scheme.train_step, (state, values, jax.random.key(1))


def measure(config, classes: int, channels: int, *, rounds: int) -> dict[str, Any]:
  """Seconds of a step and of its passes, the medians of some rounds."""
  function, arguments = parts(config, classes, channels)
  each = passes(function, *arguments)
  programs = [program(of) for of in each]
  step = compiled(function, arguments)

  def seconds(call, given) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(call(*given))
    return time.perf_counter() - begun

  seconds(step, arguments)
  for call, given in programs:
    seconds(call, given)
  steps, sums = [], []
  for _ in range(rounds):
    steps.append(seconds(step, arguments))
    sums.append(
      sum(seconds(call, given) * of.times for of, (call, given) in zip(each, programs, strict=True))
    )
  return {
    "step": statistics.median(steps),
    "passes": statistics.median(sums),
    "ratio": statistics.median(a / b for a, b in zip(steps, sums, strict=True)),
    "forward": sum(of.times for of in each if not (of.learns or of.through)),
    "backward": sum(of.times for of in each if of.learns or of.through),
    "rounds": rounds,
  }


def table(rows: dict[str, dict], order: Sequence[str]) -> str:
  lines = [
    "| method | passes: forward alone | and backward | their sum, ms | the step, ms | ratio |",
    "|---|---|---|---|---|---|",
  ]
  for name in order:
    if name in rows and math.isfinite(rows[name]["ratio"]):
      of = rows[name]
      lines.append(
        f"| `{name}` | {of['forward']} | {of['backward']} | {1e3 * of['passes']:.0f} | "
        f"{1e3 * of['step']:.0f} | {of['ratio']:.2f} |"
      )
  return "\n".join(lines)


def chosen(every: Sequence[str], wanted, done: dict[str, dict]) -> Iterator[str]:
  for name in every:
    named = any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted.only)
    if named and (wanted.again or name not in done):
      yield name


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--only", nargs="+", default=["*"], help="patterns of methods")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--again", action="store_true", help="those that are there, too")
  parser.add_argument("--table", action="store_true", help="measure nothing")
  parser.add_argument("--output", type=pathlib.Path, default=ROOT / "docs" / "step_time.json")
  parser.add_argument("--page", type=pathlib.Path, default=ROOT / "docs" / "few_labels.md")
  wanted = parser.parse_args()
  # its data and teachers lie beside, and are not read
  with contextlib.chdir(ROOT):
    every = configs()
  rows = Table(wanted.output)
  for name in () if wanted.table else list(chosen(list(every), wanted, rows.read())):
    row = measure(*every[name], rounds=wanted.rounds)
    rows.keep(name, row)
    words = "" if row["ratio"] <= LARGEST else f", more than {LARGEST}"
    print(f"{name}: {row['step']:.3f} s, passes {row['passes']:.3f} s, {row['ratio']:.2f}{words}")
  write_between(wanted.page, "step_time", table(rows.read(), list(every)))


if __name__ == "__main__":
  main()
