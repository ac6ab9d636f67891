"""Runs as one ONNX model, which onnxruntime and other runtimes load."""

import importlib.metadata
import json
import pathlib

import jax
import numpy as np

from jaxseg import files, packages
from jaxseg.interop.exports import artefact, needs
from jaxseg.interop.exports.artefact import Artefact
from jaxseg.interop.exports.window_program import IMAGE, LABELS, STATISTICS, WindowProgram
from jaxseg.networks.blocks.acceleration import cpu_gradients

NAME = "onnx"
# known to runtimes since the spring of 2024
OPSET = 21
# of logits, relative to the largest of them from 1 on
TOLERANCE = 1e-4
_BATCH = "batch"


def write(path, program: WindowProgram) -> dict:
  """Writes the file and returns what it tells of itself; `program` without loops.

  Where onnxruntime is installed the model is compared with the run on a random window, and `told`
  has their largest "difference". Raises ValueError in words, and for a model that differs.
  """
  needs.check(NAME, "--format onnx")
  model = _converted(program)
  told = artefact.description(NAME, lasts=True) | program.told
  told |= {"opset": OPSET, "versions": told["versions"] | _versions()}
  _describe(model, told)
  code = model.SerializeToString()
  if packages.installed("onnxruntime"):
    told["difference"] = difference(code, program)
    _describe(model, told)
    code = model.SerializeToString()
  with files.replacing(path) as temporary:
    temporary.write_bytes(code)
  return told


def _versions() -> dict[str, str]:
  return {name: importlib.metadata.version(name) for name in ("jax2onnx", "onnx")}


def _outputs(program: WindowProgram) -> list[str]:
  image = jax.ShapeDtypeStruct((1, *program.patch, program.channels), np.float32)
  statistics = jax.ShapeDtypeStruct((4, program.channels), np.float32)
  of = jax.eval_shape(lambda *of: program.function(program.weights, *of), image, statistics)
  # JAX sorts them by name
  return sorted(of, key=[program.told["output"], LABELS].index)


def _converted(program: WindowProgram):
  """The model, its weights inside; raises ValueError for what ONNX or the converter lack."""
  import onnx
  from jax2onnx import to_onnx

  from jaxseg.interop.exports.onnx_plugins import plugins

  shapes = {IMAGE: (_BATCH, *program.patch, program.channels)}
  if program.of_a_scan:
    shapes[STATISTICS] = (4, program.channels)
  names = _outputs(program)
  unused = np.zeros((4, program.channels), np.float32)

  def function(image, statistics=unused):
    outputs = program.function(program.weights, image, statistics)
    return tuple(outputs[name] for name in names)

  try:
    # what is written for CPUs is made for XLA: ONNX has convolutions of its own
    with cpu_gradients(False), plugins():
      model = to_onnx(
        function,
        list(shapes.values()),
        model_name="jaxseg",
        opset=OPSET,
        input_names=list(shapes),
        output_names=names,
      )
  except Exception as error:  # the converter raises kinds of its own
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    raise ValueError(
      f"{', '.join(program.told['runs'])}: jax2onnx cannot convert the network ({reason}); choose "
      "--format stablehlo or saved."
    ) from error
  if STATISTICS not in shapes:
    # every artefact is called alike
    shape = (4, program.channels)
    model.graph.input.append(
      onnx.helper.make_tensor_value_info(STATISTICS, onnx.TensorProto.FLOAT, shape)
    )
  _share(model)
  return model


def _share(model) -> None:
  """Arrays that mirror images use again are kept once."""
  first, names, kept = {}, {}, []
  for array in model.graph.initializer:
    key = (array.data_type, tuple(array.dims), array.raw_data or array.SerializeToString())
    names[array.name] = first.setdefault(key, array.name)
    if names[array.name] == array.name:
      kept.append(array)
  outputs = {value.name for value in model.graph.output}
  if outputs & set(names):
    return
  del model.graph.initializer[:]
  model.graph.initializer.extend(kept)
  for node in model.graph.node:
    for i, name in enumerate(node.input):
      if name in names:
        node.input[i] = names[name]


def _describe(model, told: dict) -> None:
  del model.metadata_props[:]
  entry = model.metadata_props.add()
  entry.key, entry.value = artefact.METADATA, json.dumps(told)


def difference(code, program: WindowProgram) -> float:
  """The largest difference of a model's scores, on a random window; raises ValueError above 1e-4.

  It is relative to the run's largest score from 1 on.
  """
  random = np.random.default_rng(0)
  window = random.uniform(*_ends(program), (1, *program.patch, program.channels))
  window = window.astype(np.float32)
  numbers = np.array([[-4.0], [4.0], [0.0], [1.0]], np.float32).repeat(program.channels, 1)
  name, runs = program.told["output"], ", ".join(program.told["runs"])
  try:
    (there,) = _session(code).run([name], {IMAGE: window, STATISTICS: numbers})
  except ValueError:
    raise
  except Exception as error:  # onnxruntime raises kinds of its own
    raise ValueError(
      f"{runs}: onnxruntime cannot run the ONNX model ({str(error).splitlines()[0][:300]}); choose "
      "--format stablehlo or saved."
    ) from error
  ours = jax.jit(lambda *of: program.function(*of)[name])(program.weights, window, numbers)
  ours = np.asarray(ours)
  largest = float(np.abs(there - ours).max() / max(1.0, np.abs(ours).max()))
  if not largest <= TOLERANCE:
    raise ValueError(
      f"{runs}: the ONNX model's {name} differ by {largest:.1e} from the run's, more than "
      f"{TOLERANCE:g}; choose --format stablehlo or saved, and tell the developers which network "
      "it is."
    )
  return largest


def _ends(program: WindowProgram) -> np.ndarray:
  """(2, channels) between which intensities are not clipped: all alike, they would tell little."""
  if program.told["normalised"]:
    return np.array([[-4.0], [4.0]])
  schemes = program.told["normalisation"][0]
  return np.array([[of.get("lower", -4.0), of.get("upper", 4.0)] for of in schemes]).T


def _session(model):
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.log_severity_level = 3
  return onnxruntime.InferenceSession(
    model, options, providers=onnxruntime.get_available_providers()
  )


def load(path) -> Artefact:
  """Loads a file by onnxruntime; raises FileNotFoundError, or ValueError for damage."""
  needs.check("onnxruntime", str(path))
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"{path}: not found, expected a model of --format onnx.")
  try:
    session = _session(str(path))
    text = session.get_modelmeta().custom_metadata_map[artefact.METADATA]
  except Exception as error:  # onnxruntime raises kinds of its own
    raise ValueError(
      f"{path}: is cut off, damaged or no model of jaxseg export-model --format onnx "
      f"({str(error).splitlines()[0][:200]}); copy it again, or export the run anew."
    ) from error
  told = artefact.read_told(text, path, NAME)
  names = [output.name for output in session.get_outputs()]

  def apply(image, statistics):
    outputs = session.run(names, {IMAGE: image, STATISTICS: statistics})
    return dict(zip(names, outputs, strict=True))

  return artefact.checking(path, told, apply)
