"""What is done to an image before a network sees it, and how its output goes back."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np

from jaxseg import build, files
from jaxseg.data.formats.geometry import Geometry, check_orientation, lies, oriented
from jaxseg.data.prepared.cropping import nonzero_box, nonzero_mask
from jaxseg.data.prepared.grids import Grid, turned
from jaxseg.data.prepared.normalise import NORMALISATIONS
from jaxseg.data.prepared.resizing import ORDERS, coarse_axis, lone_axis, resized_shape
from jaxseg.data.sources.source import RawCase, check_image, check_spacing

# the options of config.data.resampling that are left out
RESAMPLING = {
  "size": (),
  "order": 3,
  "label_order": 1,
  "score_order": 1,
  "order_z": 0,
  "separate_z": None,
  "corners": False,
}


@dataclasses.dataclass(frozen=True)
class Preparation:
  """From the user's image to the network's input and back; saved in the run folder.

  The order is nnU-Net's (1904.08128): turn, transpose, crop, normalise, resample.

  Attributes:
    channels: names of the image channels.
    rank: number of spatial axes.
    normalisation: per channel {"name": ..., **options}, every number filled in.
    orientation: "stored", or what all cases are turned to, "RAS" or three other such letters.
    spacing: millimetres per axis in the transposed order, None for an axis that stays as it is; ()
      for no resampling.
    transpose: the order of the axes, () for that of the orientation.
    crop_nonzero: whether the box of voxels that are nonzero in any channel is cut out.
    seen: with "stored", the orientations that the training cases are stored in, the most common
      one first: what is stored in none of them is turned to the first. () where their files don't
      tell, None where nobody looked.
    resampling: options of the resampling: `size` that all cases get, voxels per axis in the
      transposed order, None for an axis that `spacing` decides about; `order` of images (3),
      `label_order` (1) and, on the way back, `score_order` (1), `order_z` (0) of all along an axis
      apart, and `separate_z`: whether the coarsest axis is such (None: if voxels are more than 3
      times longer that way); `corners`: the grids share their corner voxels' centres, as
      `scipy.ndimage.zoom` has it, not their outer edges.
  """

  channels: tuple[str, ...]
  rank: int
  normalisation: tuple[dict, ...]
  orientation: str = "stored"
  spacing: tuple[float | None, ...] = ()
  transpose: tuple[int, ...] = ()
  crop_nonzero: bool = False
  resampling: dict = dataclasses.field(default_factory=dict)
  seen: tuple[str, ...] | None = None

  def __post_init__(self):
    for orientation in (self.orientation, *(self.seen or ())):
      check_orientation(orientation)
    check_target(self.spacing, self.rank)
    check_transpose(self.transpose, self.rank)
    check_resampling(self.resampling)
    check_size(self.resampling.get("size", ()), self.spacing, self.rank)

  @property
  def code(self) -> str:
    """The orientation of what a network sees; "" if the training cases' files don't tell it."""
    return next(iter(self.seen or ()), "") if self.orientation == "stored" else self.orientation

  def facing(self, geometry: Geometry) -> str:
    """The orientation that a case is turned to, "stored" for its own."""
    if self.orientation != "stored":
      return self.orientation
    if any(lies(geometry, code) for code in self.seen or ()):
      return "stored"
    return self.code or "stored"

  def remark(self, geometry: Geometry) -> str:
    """What a user should know of a case's orientation, as the end of a sentence; "" if nothing."""
    unseen = self.orientation == "stored" and self.seen is None
    if self.rank != 3 or unseen or not (self.code or geometry.axcodes):
      return ""
    if not self.code:
      return (
        f"stored as {geometry.axcodes}, while the training scans' files told no orientation: "
        "left as it is"
      )
    listed = ", ".join(self.seen or ()) or self.code
    if not geometry.axcodes:
      return f"without an orientation in the file, taken for {self.code} as the training scans"
    if self.orientation != "stored" or self.facing(geometry) == "stored":
      return ""
    return (
      f"stored as {geometry.axcodes}, the training scans as {listed}: turned to {self.code} for "
      "the network, and its segmentation back"
    )

  def grid(self, geometry: Geometry, image: np.ndarray | None = None) -> Grid:
    """The way of one case: what becomes of its voxels, and how scores come back.

    Args:
      geometry: of the stored image.
      image: (*space, channels) as stored; needed only with `crop_nonzero`.
    """
    transpose = self.transpose or tuple(range(self.rank))
    orientation = self.facing(geometry)
    upright = oriented(geometry, orientation)
    whole = tuple(upright.shape[axis] for axis in transpose)
    spacing = upright.spacing[list(transpose)]
    box = tuple(slice(0, size) for size in whole)
    if self.crop_nonzero:
      if image is None:
        raise ValueError("the grid of a cropped case follows from its image; give it.")
      box = nonzero_box(turned(image, geometry, orientation, transpose))
    size = tuple(s.stop - s.start for s in box)
    wanted = self.spacing or (None,) * self.rank
    target = np.array(
      [s if t is None else t for s, t in zip(spacing, wanted, strict=True)], np.float64
    )
    options = RESAMPLING | self.resampling
    shape = resized_shape(size, spacing, target) if self.spacing else size
    fixed = options["size"] or (None,) * self.rank
    shape = tuple(n if f is None else f for n, f in zip(shape, fixed, strict=True))
    for axis, n in enumerate(fixed):
      if n is not None:
        target[axis] = spacing[axis] * size[axis] / n
    there, back = self._apart(spacing, target), self._apart(target, spacing)
    return Grid(
      geometry,
      orientation,
      transpose,
      whole,
      box,
      shape,
      target.astype(np.float32),
      self._orders(options["order"], there),
      self._orders(options["label_order"], there),
      self._orders(options["score_order"], back),
      options["corners"],
    )

  def _apart(self, spacing, target) -> int | None:
    separate = self.resampling.get("separate_z")
    if separate is None:
      return coarse_axis(spacing, target)
    return lone_axis(spacing) if separate and self.rank == 3 else None

  def _orders(self, order: int, apart: int | None) -> tuple[int, ...]:
    orders = [order] * self.rank
    if apart is not None:
      orders[apart] = (RESAMPLING | self.resampling)["order_z"]
    return tuple(orders)

  def apply(self, raw: RawCase, where: str = "the image") -> np.ndarray:
    """(*space, channels) float32, normalised, on the network's grid; see `place`."""
    return self.place(raw, where)[0]

  def place(self, raw: RawCase, where: str = "the image") -> tuple[np.ndarray, Grid]:
    """(*space, channels) float32, normalised, on the network's grid; and the way back from it.

    Raises ValueError if rank or channels differ from the training set's, voxels are not finite, or
    the spacing that is resampled from isn't positive.
    """
    check_image(raw.image, where, channels=len(self.channels), rank=self.rank)
    if self.spacing:
      check_spacing(raw.geometry, where)
    grid = self.grid(raw.geometry, raw.image)
    image = grid.cut(raw.image)
    body = nonzero_mask(image) if self.masked else None
    out = np.empty(image.shape, np.float32)
    for i, scheme in enumerate(self.normalisation):
      if i in raw.missing:  # as what modality dropout takes away
        out[..., i] = 0
        continue
      options = dict(scheme)
      normalise = NORMALISATIONS[options.pop("name")]
      masked = (body,) if scheme.get("nonzero") else ()
      try:
        out[..., i] = normalise(image[..., i], *masked, **options)
      except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return grid.image(out), grid

  @property
  def masked(self) -> bool:
    """Whether any channel is normalised inside the nonzero mask alone."""
    return any(scheme.get("nonzero") for scheme in self.normalisation)

  def restore(self, array: np.ndarray, geometry: Geometry, *, outside: float = 0) -> np.ndarray:
    """(*space[, k]) on the network's grid -> on that of the input image; see `Grid.restore`.

    With `crop_nonzero` the grid must be asked for with the image: `grid(geometry, image).restore`.
    """
    return self.grid(geometry).restore(array, outside=outside)

  def to_json(self) -> str:
    return json.dumps(dataclasses.asdict(self))

  @classmethod
  def from_json(cls, text: str) -> "Preparation":
    """The inverse of `to_json`; raises ValueError, without the file, where it can't be that."""
    fields = json.loads(text)
    kinds = {"channels": list, "rank": int, "normalisation": list}
    files.check_fields(fields, "the preparation", advice="it is damaged", fields=kinds)
    try:
      for name in ("channels", "normalisation", "spacing", "transpose", "seen"):
        if fields.get(name) is not None:
          fields[name] = tuple(fields[name])
      if "size" in fields.get("resampling", {}):
        fields["resampling"]["size"] = tuple(fields["resampling"]["size"])
      made = cls(**fields)
      if len(made.normalisation) != len(made.channels):
        raise ValueError("it needs one scheme of normalisation for each channel")
      for scheme in made.normalisation:
        build.bind(NORMALISATIONS, scheme, "data.normalise")
    except (TypeError, AttributeError) as error:
      raise ValueError(f"a field of it is wrong ({error})") from error
    return made


def check_target(spacing: Sequence[float | None], rank: int) -> None:
  """Raises ValueError that says what config.data.spacing must be."""
  good = len(spacing) in (0, rank) and all(s is None or 0 < s < np.inf for s in spacing)
  if not good:
    raise ValueError(
      f"config.data.spacing: {tuple(spacing)}; expected () to keep the voxels as they are, or "
      f"{rank} positive numbers of millimetres in the transposed order (None keeps an axis)."
    )


def check_size(size, spacing: Sequence[float | None], rank: int) -> None:
  """Raises ValueError that says what config.data.resampling.size must be."""
  field = f"config.data.resampling.size: {size!r}"
  good = isinstance(size, list | tuple) and len(size) in (0, rank)
  if not good or not all(n is None or (type(n) is int and n > 0) for n in size):
    raise ValueError(
      f"{field}; expected () for no fixed size, or {rank} whole numbers of voxels from 1 in the "
      "transposed order (None keeps an axis)."
    )
  twice = [a for a, (n, mm) in enumerate(zip(size, spacing, strict=False)) if None not in (n, mm)]
  if twice:
    raise ValueError(
      f"{field} with config.data.spacing={tuple(spacing)}: axis {twice[0]} has both; expected None "
      "in one of them."
    )


def check_transpose(transpose: Sequence[int], rank: int) -> None:
  """Raises ValueError that says what config.data.transpose must be."""
  if transpose and sorted(transpose) != list(range(rank)):
    raise ValueError(
      f"config.data.transpose: {tuple(transpose)}; expected () or an order of the axes "
      f"{tuple(range(rank))}."
    )


def check_resampling(options: Mapping) -> None:
  """Raises ValueError that lists the options or the choices of config.data.resampling."""
  choices = dict.fromkeys(("order", "order_z"), ORDERS)
  choices |= dict.fromkeys(("label_order", "score_order"), (0, 1))
  choices |= {"separate_z": (None, True, False), "corners": (True, False)}
  for name, value in options.items():
    if name not in RESAMPLING:
      raise ValueError(
        f"config.data.resampling.{name}: no such option{build.suggestion(name, RESAMPLING)}; "
        f"options: {', '.join(RESAMPLING)}."
      )
    # a size is as long as a case has axes, see `check_size`
    if name == "size":
      continue
    # True is no 1 here
    if not any(type(value) is type(choice) and value == choice for choice in choices[name]):
      raise ValueError(
        f"config.data.resampling.{name}: {value!r}; choices: {', '.join(map(str, choices[name]))}."
      )
