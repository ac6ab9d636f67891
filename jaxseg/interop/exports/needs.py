"""Packages that only exports need, asked for before work begins."""

from jaxseg import packages

_PIP = {
  "flatbuffers": "pip install flatbuffers",
  "jax2onnx": "pip install jax2onnx onnx",
  "onnx": "pip install jax2onnx onnx",
  "onnxruntime": "pip install onnxruntime",
}


def check(package: str, what: str) -> None:
  """Raises ValueError with the pip line where a package is not installed."""
  if not packages.installed(package):
    raise ValueError(
      f"{what}: needs the package {package}, which is not installed; install it: {_PIP[package]}."
    )
