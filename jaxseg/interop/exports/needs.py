"""Packages that only exports need, asked for before work begins."""

from jaxseg import packages

# what is written or loaded -> packages; they are those of one pip line
_PACKAGES = {
  "stablehlo": ("flatbuffers",),
  "onnx": ("jax2onnx", "onnx"),
  "onnxruntime": ("onnxruntime",),
}


def check(form: str, what: str) -> None:
  """Raises ValueError with the pip line where a package is not installed.

  Args:
    form: a format that is written, or what loads it.
    what: what needs it, for the message.
  """
  needed = _PACKAGES.get(form, ())
  if missing := [package for package in needed if not packages.installed(package)]:
    raise ValueError(
      f"{what}: needs the package {missing[0]}, which is not installed; install it: pip install "
      f"{' '.join(needed)}."
    )
