"""Arrays without a geometry of their own: .npy, .npz and HDF5."""

import pathlib

import numpy as np

from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.packages import OnDemand

h5py = OnDemand("h5py")
HDF5 = (".h5", ".hdf5")
_IMAGE = ("image", "vol", "volume", "data", "array")
_LABEL = ("label", "seg", "mask", "array")


def _pick(keys, wanted: str | None, usual: tuple[str, ...]) -> str:
  names = sorted(keys)
  candidates = (wanted,) if wanted else usual
  for name in candidates:
    if name in names:
      return name
  if wanted is None and len(names) == 1:
    return names[0]
  raise ValueError(f"no array named {' or '.join(candidates)}, it holds: {', '.join(names)}")


def check_apart(path: pathlib.Path) -> None:
  """Raises ValueError where the image and the mask of a .npz would be one array."""
  with np.load(path, allow_pickle=False) as loaded:
    image, mask = (_pick(loaded.files, None, usual) for usual in (_IMAGE, _LABEL))
  if image == mask:
    raise ValueError(
      f"{path}: its array '{image}' would be both image and mask; expected an array 'image' and an "
      "array 'mask', or files of their own."
    )


def read(
  path: pathlib.Path, *, integer: bool, rank: int | None = None, key: str | None = None
) -> tuple[np.ndarray, Geometry]:
  """(*space, channels) and a geometry of 1 mm voxels.

  A `rank` smaller than the number of axes by one says that the last axis is the channels'.
  """
  suffix, usual = path.suffix.lower(), _LABEL if integer else _IMAGE
  if suffix in HDF5:
    with h5py.File(path) as file:
      arrays = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
      array = file[_pick(arrays, key, usual)][()]
  else:
    loaded = np.load(path, allow_pickle=False)
    array = loaded if suffix == ".npy" else loaded[_pick(loaded.files, key, usual)]
  if rank is None or array.ndim != rank + 1:
    array = array[..., None]
  if array.ndim not in (3, 4):
    raise ValueError(f"its shape {array.shape[:-1]} is neither 2D nor 3D")
  return array, plain_geometry(array.shape[:-1])


def write(path: pathlib.Path, array: np.ndarray, *, integer: bool) -> None:
  """The array alone, under the name "label" or "image" where the format names it."""
  name, suffix = "label" if integer else "image", path.suffix.lower()
  if suffix in HDF5:
    with h5py.File(path, "w") as file:
      file.create_dataset(name, data=array, compression="gzip")
  elif suffix == ".npy":
    np.save(path, array)
  else:
    np.savez_compressed(path, **{name: array})
