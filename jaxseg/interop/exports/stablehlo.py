"""Runs as one StableHLO program with its weights, which jax alone loads.

The file is a zip that `numpy.load` opens: the program of `jax.export`, each array of the weights,
and a JSON of what it is. Weights are arguments, so that nothing is computed with them while the
program compiles, and its outputs are those of the run to the bit.
"""

import io
import json
import pathlib
import zipfile
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax import export

from jaxseg import files
from jaxseg.interop.exports import artefact, needs
from jaxseg.interop.exports.artefact import Artefact
from jaxseg.interop.exports.window_program import WindowProgram
from jaxseg.networks.blocks.acceleration import cpu_gradients

NAME = "stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")
_PROGRAM, _WEIGHTS = "program", "weights/"


def write(path, program: WindowProgram, *, platforms: Sequence[str] = PLATFORMS) -> dict:
  """Writes the file and returns what it tells of itself; raises ValueError in words.

  Args:
    path: the file.
    program: with a symbolic batch it must be traceable.
    platforms: what it can run on, all in one file.
  """
  needs.check(NAME, "--format stablehlo")
  exported, weights = _exported(program, platforms)
  told = artefact.description(NAME, lasts=False) | program.told
  told |= {"platforms": list(platforms), "version": exported.calling_convention_version}
  with files.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
    archive.writestr(artefact.TOLD, json.dumps(told, indent=2))
    archive.writestr(_PROGRAM, bytes(exported.serialize()))
    for name, array in weights.items():
      with archive.open(f"{_WEIGHTS}{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
  return told


def _exported(program: WindowProgram, platforms: Sequence[str]):
  """The program, and the weights that it uses: those of critics and teachers stay behind."""
  (batch,) = export.symbolic_shape("batch")
  image = jax.ShapeDtypeStruct((batch, *program.patch, program.channels), np.float32)
  statistics = jax.ShapeDtypeStruct((4, program.channels), np.float32)

  def exported(weights):
    abstract = {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in weights.items()}
    jitted = jax.jit(_on_platform(program.function))
    return export.export(jitted, platforms=platforms)(abstract, image, statistics)

  names = sorted(program.weights)
  kept = exported(program.weights).module_kept_var_idx
  weights = {names[i]: program.weights[names[i]] for i in kept if i < len(names)}
  return exported(weights), weights


def _on_platform(function: Callable) -> Callable:
  """The function as `Layout.windowed` applies it: a CPU computes one window after the other.

  What is written for CPUs looks at the number of voxels, and that of a symbolic batch is unknown.
  """

  def together(weights, image, statistics):
    with cpu_gradients(False):
      return function(weights, image, statistics)

  def in_turn(weights, image, statistics):
    def one(window):
      with cpu_gradients(True):
        outputs = function(weights, window[None], statistics)
      return jax.tree.map(lambda x: x[0], outputs)

    return jax.lax.map(one, image)

  return lambda *of: jax.lax.platform_dependent(*of, cpu=in_turn, default=together)


def load(path, *, past_date: bool = False) -> Artefact:
  """Loads a file.

  Args:
    path: the file.
    past_date: loads it although its six months are over.

  Raises:
    FileNotFoundError: there is none.
    ValueError: it is cut off, damaged, of another format or past its date, or needs a platform
      that is not there.
  """
  needs.check(NAME, str(path))
  path = pathlib.Path(path)
  with artefact.open_zip(path, "a program of jaxseg export-model --format stablehlo") as archive:
    told = artefact.read_told(artefact.member(archive, artefact.TOLD, path), path, NAME)
    artefact.check_date(told, path, past_date=past_date)
    platform = jax.default_backend()
    platform = "cuda" if platform == "gpu" else platform
    if platform not in told["platforms"]:
      raise ValueError(
        f"{path}: was exported for {', '.join(told['platforms'])}, this process computes on "
        f"{platform}; export the run with --platforms {platform}."
      )
    inside = [name for name in archive.namelist() if name.startswith(_WEIGHTS)]
    weights = {
      name.removeprefix(_WEIGHTS).removesuffix(".npy"): np.load(
        io.BytesIO(artefact.member(archive, name, path)), allow_pickle=False
      )
      for name in inside
    }
    code = bytearray(artefact.member(archive, _PROGRAM, path))
  try:
    program = export.deserialize(code)
  except Exception as error:  # flatbuffers and the compiler raise kinds of their own
    raise ValueError(
      f"{path}: this jax ({jax.__version__}) cannot load it ({str(error).splitlines()[0][:200]}); "
      f"{artefact.again(told)}."
    ) from error
  call, weights = jax.jit(program.call), jax.device_put(weights)
  return artefact.checking(path, told, lambda image, numbers: call(weights, image, numbers))
