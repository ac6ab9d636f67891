"""Peak memory of a training step: by the compiler, or from the traced program alone."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.planning.liveness import temporaries
from jaxseg.xla_flags import of_one_call, of_step

# what a plan adds: the compiler's figure over the prediction was at most 1.24, of linear upsampling
# in 3D that is computed again; of 29 other networks and patches at most 1.15
MARGIN = 1.25


class Memory(NamedTuple):
  """What a program holds at most on one device, in bytes.

  Attributes:
    arguments, outputs: state, batch; the new state and the metrics.
    aliased: of the outputs, what is written over arguments.
    temporaries: all else at the same time.
  """

  arguments: int
  outputs: int
  aliased: int
  temporaries: int

  @property
  def peak(self) -> int:
    return self.arguments + self.outputs - self.aliased + self.temporaries


def of_compiled(program) -> Memory:
  """The compiler's own figures of a compiled program, those of one device."""
  told = program.memory_analysis()
  return Memory(
    arguments=told.argument_size_in_bytes,
    outputs=told.output_size_in_bytes,
    aliased=told.alias_size_in_bytes,
    temporaries=told.temp_size_in_bytes,
  )


def of_step_traced(init: Callable, train_step: Callable, batch) -> Memory:
  """A prediction for a training step whose state is written in place; nothing is compiled.

  By the gradients that GPUs and TPUs use, and by what XLA's compiler for CPUs adds where that is
  the backend; on others it was not compared. Of 30 networks and patches 28 came within 15 % of the
  compiler's figure, see MARGIN and docs/benchmarks.md.

  Args:
    init, train_step: of a `Method`.
    batch: its shapes.
  """
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(init, key, batch)
  with cpu_gradients(False):
    after = jax.eval_shape(train_step, state, batch, key)
    inner = temporaries(train_step, state, batch, key, cpu=jax.default_backend() == "cpu")
  own = _bytes(state)
  return Memory(
    arguments=own + _bytes(batch), outputs=_bytes(after), aliased=own, temporaries=inner
  )


def of_step_compiled(init: Callable, train_step: Callable, batch, *, remat: str) -> Memory:
  """The compiler's own figures for the same step on this backend.

  The machine code is not optimised, which changes none of them.
  """
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(init, key, batch)
  backend = jax.default_backend()
  options = {**(of_step(remat, backend) or {}), **(of_one_call(backend) or {})}
  with cpu_gradients(False):
    step = jax.jit(train_step, donate_argnums=0, compiler_options=options)
    return of_compiled(step.lower(state, batch, key).compile())


def _bytes(tree) -> int:
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
