"""Accelerators that are not there: what `--compile-for` names, and the devices that it stands for.

libtpu, from the package index, compiles for TPUs on any machine with Linux; for CUDA, JAX lowers a
program without a device, but does not compile it.
"""

import importlib.util
import math
import os
import re
from typing import NamedTuple

CUDA, TPU = "cuda", "tpu"
# read while JAX and libtpu start: no search for a TPU on this machine, nor for its cloud's server,
# and several processes at a time, which a TPU forbids and its compiler does not
ENVIRONMENT = {
  "JAX_PLATFORMS": "cpu",
  "TPU_SKIP_MDS_QUERY": "1",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
EXAMPLES = "tpu:v5e:2x4, tpu:v5p:4x4x4, cuda"


class Generation(NamedTuple):
  """Of TPUs: `largest` slice, chips per axis of its torus (cloud.google.com/tpu/docs/v5e, ...)."""

  largest: tuple[int, ...]


# v4 is missing: libtpu describes its chips as two devices each, which nobody trains on
GENERATIONS = {
  "v5e": Generation((16, 16)),
  "v5p": Generation((16, 16, 24)),
  "v6e": Generation((16, 16)),
}


class Target(NamedTuple):
  """What to compile for.

  Attributes:
    platform: TPU or CUDA.
    generation: "v5e"; "" of CUDA.
    chips: along each axis of the torus; () of CUDA.
  """

  platform: str
  generation: str = ""
  chips: tuple[int, ...] = ()

  @property
  def name(self) -> str:
    if self.platform == CUDA:
      return CUDA
    return f"{self.platform}:{self.generation}:{'x'.join(map(str, self.chips))}"


def parse(text: str) -> Target:
  """The target that `--compile-for` names; raises ValueError in a sentence for one there is not."""
  where = f"--compile-for {text}"
  parts = text.split(":")
  if parts == [CUDA]:
    return Target(CUDA)
  if len(parts) != 3 or parts[0] != TPU:
    raise ValueError(f"{where}: no target; expected one like {EXAMPLES}.")
  _, generation, shape = parts
  if generation not in GENERATIONS:
    raise ValueError(
      f"{where}: the TPU generation '{generation}' is unknown; choices: {', '.join(GENERATIONS)}."
    )
  largest = GENERATIONS[generation].largest
  example = "x".join(["4"] * len(largest))
  if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", shape):
    raise ValueError(
      f"{where}: '{shape}' is no topology; expected chips per axis, as tpu:{generation}:{example}."
    )
  chips = tuple(int(n) for n in shape.split("x"))
  if len(chips) != len(largest):
    raise ValueError(
      f"{where}: {len(chips)} axes, but {generation} is a torus of {len(largest)}; expected chips "
      f"per axis, as tpu:{generation}:{example}."
    )
  if math.prod(chips) > math.prod(largest) or max(chips) > max(largest):
    most = "x".join(map(str, largest))
    raise ValueError(
      f"{where}: there is no slice of {generation} that large; expected {most} at most "
      f"({math.prod(largest)} chips)."
    )
  return Target(TPU, generation, chips)


def check_compiler(target: Target) -> None:
  """Raises ValueError in a sentence where the target's compiler is not installed."""
  if target.platform == TPU and importlib.util.find_spec("libtpu") is None:
    raise ValueError(
      f"--compile-for {target.name}: needs libtpu, which is not installed; expected "
      "`pip install libtpu` in this environment (Linux; no TPU is needed)."
    )


def devices(target: Target) -> list:
  """The target's devices, to lay a program out over; raises ValueError in a sentence."""
  import jax
  from jax.experimental import topologies

  if target.platform == CUDA:
    return jax.devices()
  check_compiler(target)
  for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  shape = target.name.partition(":")[2]
  try:
    found = topologies.get_topology_desc(platform=TPU, topology_name=shape).devices
  except Exception as error:
    text = " ".join(str(error).split())
    raise ValueError(
      f"--compile-for {target.name}: libtpu knows no such topology ({text}); expected one like "
      f"{EXAMPLES}."
    ) from error
  if len(found) != math.prod(target.chips):
    raise ValueError(
      f"--compile-for {target.name}: libtpu describes {len(found)} devices for "
      f"{math.prod(target.chips)} chips; expected one device per chip."
    )
  return list(found)
