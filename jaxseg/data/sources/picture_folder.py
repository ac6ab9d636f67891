"""Images and masks in two folders (or one), paired by the case's name."""

import functools
import glob
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.config.option_values import check_expression
from jaxseg.data.formats import array_files
from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.formats.images import ENDINGS, read_image, read_label, stem
from jaxseg.data.sources.dataset_json import whole
from jaxseg.data.sources.source import (
  ALL,
  NONE,
  RawCase,
  Source,
  check_image,
  check_labelled,
  existing_folder,
  fingerprint,
  label_file,
  natural,
  on_image_grid,
)

# weights of red, green and blue in the luminance of ITU-R BT.601
_LUMINANCE = np.array([0.299, 0.587, 0.114])
# folders whose own name says nothing: the set is called after a folder above
_PLAIN_NAMES = ("image", "images", "imagesTr", "img", "train", "training")


def named_labels(names: Sequence[str], values, ignore: int | None) -> LabelSpec:
  """Class names and the value that each has in the files (0, 1, 2, ... by default)."""
  names = tuple(names)
  values = range(len(names)) if values is None else values
  values = tuple(whole(value, "config.data.values: a value") for value in values)
  if len(values) != len(names) or len(set(values)) != len(values):
    raise ValueError(
      f"config.data.values: {values} must give each of the {len(names)} names {names} a value of "
      "its own."
    )
  return LabelSpec(names, values, ignore=ignore)


def in_colours(image: np.ndarray, channels: int) -> np.ndarray:
  """Grey to colour by repetition, colour to grey by luminance; other images as they are."""
  if image.shape[-1] == 1 and channels == 3:
    return np.repeat(image, 3, -1)
  if image.shape[-1] == 3 and channels == 1:
    return (image @ _LUMINANCE)[..., None].astype(np.float32)
  return image


def _case_name(file: pathlib.Path, expression: str | None) -> str:
  if expression is None:
    return stem(file)
  match = re.search(expression, file.name)
  if match is None:
    raise ValueError(
      f"{file}: its name doesn't match config.data.case r'{expression}'; correct the expression or "
      "narrow image_pattern."
    )
  return match.group(1) if match.groups() else match.group(0)


def _images(folder: pathlib.Path, pattern: str, case: str | None) -> dict[str, pathlib.Path]:
  found: dict[str, pathlib.Path] = {}
  for file in sorted(folder.glob(pattern)):
    if not file.is_file() or not file.name.lower().endswith(ENDINGS) or file.name[0] == ".":
      continue
    name = _case_name(file, case)
    if name in found:
      raise ValueError(
        f"{file}: is the second image of case '{name}' beside {found[name]}; narrow "
        "image_pattern, or set case to a regular expression that tells them apart."
      )
    found[name] = file
  if not found:
    raise ValueError(
      f"{folder}: no image matches '{pattern}'; known endings: {', '.join(ENDINGS)}."
    )
  return found


def _beside(folder: pathlib.Path, pattern: str, case: str, image: pathlib.Path, what: str):
  """The one file of a case that `pattern` names."""
  name = pattern.replace("{case}", glob.escape(case))
  # a .npz may hold both, where the pattern says so and doesn't just match it
  both = image.suffix.lower() == ".npz" and not set("*?[") & set(pattern)
  found = [f for f in sorted(folder.glob(name)) if f.is_file() and (both or f != image)]
  found = [f for f in found if f.name.lower().endswith(ENDINGS)]
  whole = pattern.removesuffix(".*").replace("{case}", case)
  if pattern.endswith(".*") and not set("*?[") & set(pattern[:-2]):
    # a.png goes before a.b.png, which another case may have; a.seg.nrrd may be alone
    found = [f for f in found if stem(f) == pathlib.PurePath(whole).name] or found
  if len(found) != 1:
    problem = "no"
    if found:
      problem = f"{len(found)} files ({', '.join(f.name for f in found[:4])}) for the"
    raise ValueError(
      f"{image}: case '{case}' has {problem} {what} ({folder / name}); add it, or correct the "
      f"pattern '{pattern}'."
    )
  return found[0]


def _mask(folder, pattern: str, case: str, image: pathlib.Path, labelled) -> pathlib.Path | None:
  """The mask of an image, None where it may have none."""
  if labelled is NONE:
    return None
  if labelled is not ALL:
    name = pattern.replace("{case}", glob.escape(case))
    if not [file for file in folder.glob(name) if file.is_file() and file != image]:
      return None
  return _beside(folder, pattern, case, image, "mask")


def _check_apart(files, what: str = "mask") -> None:
  """Raises ValueError where two cases have one mask."""
  owner: dict[pathlib.Path, pathlib.Path] = {}
  for image, mask, _ in files.values():
    if mask is None:
      continue
    if owner.setdefault(mask, image) != image:
      raise ValueError(
        f"{mask}: is the {what} of both {owner[mask]} and {image}; correct mask_pattern, in which "
        "{case} stands for the case's name."
      )


def _check_left_over(folder: pathlib.Path, pattern: str, used: set[pathlib.Path], what: str):
  known = [f for f in sorted(folder.glob(pattern.replace("{case}", "*"))) if f.is_file()]
  left = [f for f in known if f not in used and f.name.lower().endswith(ENDINGS)]
  if left:
    raise ValueError(
      f"{left[0]}: this {what} belongs to no image; add its image, or narrow the pattern "
      f"'{pattern}'."
    )


def _spaced(geometry: Geometry, spacing) -> Geometry:
  """What the user says of files that store no position."""
  if spacing is None or geometry.kind not in ("picture", "plain"):
    return geometry
  return plain_geometry(geometry.shape, spacing, geometry.kind)


def _read_case(
  case: str, *, files, channels, labels: LabelSpec, rank, threshold, spacing, check_affine
) -> RawCase:
  if case not in files:
    raise ValueError(f"case '{case}' is not in this data set, which has {len(files)} cases.")
  image_path, mask_path, weight_path = files[case]
  image, geometry = read_image(image_path, rank=rank)
  image = in_colours(image, len(channels))
  check_image(image, str(image_path), channels=len(channels), rank=rank)
  geometry = _spaced(geometry, spacing)
  lay = functools.partial(on_image_grid, image=geometry, affine=check_affine)
  label = weight = None
  if mask_path is not None:
    if mask_path == image_path:
      array_files.check_apart(mask_path)
    label, label_geometry = read_label(mask_path)
    label = lay(label, _spaced(label_geometry, spacing), where=str(mask_path), what="mask")
    if threshold is not None:
      label = np.where(label > threshold, labels.stored_values[1], labels.stored_values[0])
    labels.encode(label, label_file(mask_path))
  if weight_path is not None:
    weight, weight_geometry = read_label(weight_path)
    weight_geometry = _spaced(weight_geometry, spacing)
    weight = lay(weight, weight_geometry, where=str(weight_path), what="weight")
    if weight_path.suffix.lower() in (".jpg", ".jpeg") and len(np.unique(weight)) > 2:
      raise ValueError(f"{label_file(weight_path)}: a field of view needs two values.")
    weight = (weight > 0).astype(np.float32)
  return RawCase(image, label, weight, geometry)


def paired_folder(
  images: str,
  masks: str | None = None,
  *,
  names: Sequence[str] = ("background", "foreground"),
  values: Sequence[int] | None = None,
  threshold: float | None = None,
  ignore: int | None = None,
  channels: Sequence[str] = ("grey",),
  image_pattern: str = "*",
  case: str | None = None,
  mask_pattern: str = "{case}.*",
  weights: str | None = None,
  weight_pattern: str = "{case}.*",
  spacing: Sequence[float] | None = None,
  check_affine: bool = True,
  labelled: bool | str = True,
) -> Source:
  """Pairs of image and mask files: PNG, TIF, GIF, JPG, and every other format that can be read.

  Args:
    images: folder of the images.
    masks: folder of the masks; may be the same folder. Left out with labelled=False.
    names: names of the classes, background first.
    values: the value of each class in the mask files, for example (255, 0) where black is the
      foreground; 0, 1, 2, ... by default.
    threshold: where set, mask values above it become the second class, the others the first: for
      masks with grey edges and for numbered instances.
    ignore: mask value of voxels that are not annotated.
    channels: names of the channels; ("red", "green", "blue") or ("grey",) for pictures. Grey
      pictures are repeated, coloured ones turned to luminance, where the number differs.
    image_pattern: glob of the image files.
    case: regular expression searched in the image's file name whose first group is the case's
      name; by default the file name without its ending.
    mask_pattern: glob of a case's mask, with {case} for its name; "{case}.npz" may be the image's
      own file, which then holds the arrays image and mask.
    weights: folder of fields of view: voxels where these are 0 are ignored.
    weight_pattern: glob of a case's field of view.
    spacing: millimetres per axis in array order, for files that store none.
    check_affine: refuse masks whose affine differs from their image's, for files that have one.
    labelled: True: every image has a mask; False: none has; "partly": those that have none are
      cases without a label.

  Raises:
    FileNotFoundError: a folder is missing.
    ValueError: image without mask or the reverse, two images of one case, and, when a case is
      read, shapes, channels or mask values that don't fit.
  """
  check_labelled(labelled)
  if masks is None and labelled is not NONE:
    raise ValueError(
      "config.data.source: 'paired_folder' needs masks, the folder of the masks (or "
      "labelled=False, of images without any)."
    )
  labels = named_labels(names, values, ignore)
  if threshold is not None and len(labels.names) != 2:
    raise ValueError(
      f"config.data.threshold: splits a mask into two classes, but names has {len(labels.names)}."
    )
  if case is not None:
    check_expression(case, "config.data.source.case")
  image_folder = existing_folder(images, "the folder of images")
  mask_folder = None if labelled is NONE else existing_folder(masks, "the folder of masks")
  weight_folder = weights and existing_folder(weights, "the folder of fields of view")
  files = {}
  for name, file in _images(image_folder, image_pattern, case).items():
    mask = _mask(mask_folder, mask_pattern, name, file, labelled)
    weight = weight_folder and _beside(weight_folder, weight_pattern, name, file, "field of view")
    files[name] = (file, mask, weight)
  _check_apart(files)
  used = {file for images_of in files.values() for file in images_of if file is not None}
  if mask_folder is not None:
    _check_left_over(mask_folder, mask_pattern, used, "mask")
  cases = tuple(sorted(files, key=natural))
  channels = tuple(channels)
  options = {
    "names": labels.names,
    "values": labels.stored_values,
    "threshold": threshold,
    "ignore": ignore,
    "channels": channels,
    "spacing": spacing,
    "check_affine": check_affine,
    "cases": cases,
  }
  if labelled is not ALL:
    options["labelled"] = labelled
  rank = read_image(files[cases[0]][0])[1].rank
  read = functools.partial(
    _read_case,
    files=files,
    channels=channels,
    labels=labels,
    rank=rank,
    threshold=threshold,
    spacing=spacing,
    check_affine=check_affine,
  )
  every = [file for triple in files.values() for file in triple if file is not None]
  telling = [f.name for f in (image_folder, *image_folder.parents) if f.name not in _PLAIN_NAMES]
  without = frozenset(case for case, (_, mask, _) in files.items() if mask is None)
  name, key = telling[0] or "pictures", fingerprint(every, options)
  return Source(name, cases, channels, labels, rank, read, key, without)
