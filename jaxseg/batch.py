"""What flows through the program: the fields of a batch, the target of a loss, the labels.

A batch is a dict of arrays whose first axis is the batch; a further stream, or what another network
is to see, is a batch of its own, nested under its name. A sample is one element of it, the same
fields without that axis, and so is a whole case. Strings never enter a batch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.label_spec import LabelSpec as LabelSpec

Array = jax.Array | np.ndarray
Batch = dict[str, "Array | Batch"]


class Kind(NamedTuple):
  """How a field behaves, whatever its name: cropped, padded, mirrored, resampled, mixed, sliced.

  Attributes:
    spatial: the field has the sample's spatial axes, and is cropped and resampled with it.
    channels: a channel axis follows the spatial ones.
    pad: value outside the case; None is that of the nearest voxel inside, of what surrounds a
      voxel: no mixture of two samples has it.
    order: interpolation order when resampled (0 nearest, 1 linear).
    classes: its channels are classes, or its values if it has none: they swap with left and right.
    integer: int32; else float32.
    intensity: intensity augmentation changes it.
    length: the values are millimetres, and grow with a body that is scaled up.
    axes: not spatial: its last axis has one number per spatial axis, without that of a slice.
    target: what only a loss looks at, known in training alone.
    map: of targets: a loss finds it in Target.maps.
    bounds: of masks of classes: where each may be; outside of all there is background.
    apart: of indices: what two samples that are mixed have where theirs differ; None is the one
      that more of the mixture comes from.
    per_channel: not spatial: its last axis has one number per channel of the image, which no
      mixture of two samples has.
  """

  spatial: bool = True
  channels: bool = False
  pad: float | None = 0.0
  order: int = 0
  classes: bool = False
  integer: bool = False
  intensity: bool = False
  length: bool = False
  axes: bool = False
  target: bool = False
  map: bool = False
  bounds: bool = False
  apart: int | None = None
  per_channel: bool = False

  @property
  def dtype(self) -> np.dtype:
    return np.dtype(np.int32 if self.integer else np.float32)

  def padded(self, values: np.ndarray, pads: Sequence[tuple[int, int]]) -> np.ndarray:
    """(*space, ...) values with what lies outside a case, (before, after) per spatial axis."""
    width = [*pads, *[(0, 0)] * (values.ndim - len(pads))]
    outside = {"mode": "edge"} if self.pad is None else {"constant_values": self.pad}
    return np.pad(values, width, **outside)

  @property
  def blends(self) -> bool:
    """Whether a mean of two samples' values has a meaning; else they are pasted or refused."""
    return self.spatial and self.order == 1 and self.pad is not None

  @property
  def unites(self) -> bool:
    """Whether it is a mask, which of two samples together is where either is."""
    return self.spatial and not (self.channels or self.classes or self.order or self.pad is None)


IMAGE = Kind(channels=True, order=1, intensity=True)
CLASSES = Kind(classes=True, integer=True)
SCORES = Kind(channels=True, order=1, classes=True)
MARKS = Kind(channels=True, classes=True)
WEIGHT = Kind()
# maps of what surrounds a voxel vary slowly, and don't end at the border of a case
SURROUNDINGS = Kind(pad=None, order=1, target=True, map=True)
DISTANCE = SURROUNDINGS._replace(channels=True, classes=True, length=True)
INDEX = Kind(spatial=False, integer=True)

# field -> kind: a new field of a batch is a new row here, never a branch elsewhere
FIELDS: dict[str, Kind] = {
  "image": IMAGE,  # (b, *space, channels) float
  "label": CLASSES._replace(target=True),  # (b, *space) int32
  # (b, *space, k) float: soft or overlapping region labels
  "soft_label": SCORES._replace(target=True),
  # (b, *space, channels) float: the image that is to be made
  "target_image": Kind(channels=True, order=1, target=True),
  "weight": WEIGHT._replace(target=True),  # (b, *space) float, 0 = ignored
  "distance": DISTANCE,  # (b, *space, k) float, signed distance in millimetres
  "border": SURROUNDINGS,  # (b, *space) float, U-Net's weight of gaps between objects
  "body": WEIGHT,  # (b, *space) float, 1 where intensities were normalised; the rest is 0
  "prior": SCORES,  # (b, *space, k) float, an earlier stage's scores
  "previous": SCORES,  # (b, *space, k) float, a segmentation that a user goes on from
  "clicks": MARKS,  # (b, *space, k) float, 1 around the points that a user gave a class
  # (b, *space, k) float, fading from 1 at these points to 0: Gaussians, balls
  "click_heat": SCORES,
  # (b, *space, k) float, from 0 at these points to 1 far from all of them: tanh, clipped distances
  "click_distance": SCORES._replace(pad=1.0),
  # (b, *space, k) float, from 0 at these points to 1: the cheapest ways along the image
  "click_geodesic": SCORES._replace(pad=None),
  "strokes": MARKS,  # (b, *space, k) float, 1 where a user drew a class, to be seen by a network
  "prompt_box": MARKS,  # (b, *space, k) float, 1 inside the boxes that a user drew around a class
  "scribble": MARKS._replace(target=True),  # (b, *space, k) float, 1 where a class was marked
  # (b, *space, k) float, 1 inside a class's boxes
  "box": MARKS._replace(target=True, map=True, bounds=True),
  # (b, *space, k) float, 1 where another network was sure of a class
  "pseudo_label": MARKS._replace(target=True),
  "logits": SCORES,  # (b, *space, k) float, what a network says of a patch
  "spacing": Kind(spatial=False, axes=True),  # (b, rank) float, millimetres
  "case": INDEX,  # (b,) int32, index into the host's table of names
  "draw": INDEX,  # (b,) int32, number of the noise that something is made of
  "domain": INDEX,  # (b,) int32, index of the scanner, hospital or data set
  # (b,) int32, which of several trained networks never saw the case; -1: none of them, or all
  "fold": INDEX._replace(apart=-1),
  # (b, channels) float, 1 of channels that a sample has, 0 of those it lacks
  "modalities": Kind(spatial=False, per_channel=True),
}


def kind(field: str) -> Kind:
  """The kind of a field; raises ValueError that lists the known fields."""
  if field not in FIELDS:
    raise ValueError(
      f"batch field '{field}' has no kind; known fields: {', '.join(FIELDS)}. "
      "Add a row to jaxseg.batch.FIELDS."
    )
  return FIELDS[field]


def by_kind(act: Callable[[Kind, Any], Any], batch: Batch) -> Batch:
  """The batch with `act(kind, values)` in place of every field's values, nested ones as well.

  A ValueError that `act` raises is told with the field's name.
  """
  out = {}
  for name, values in batch.items():
    if isinstance(values, Mapping):
      out[name] = by_kind(act, values)
      continue
    row = kind(name)
    try:
      out[name] = act(row, values)
    except ValueError as error:
      raise ValueError(f"field '{name}': {error}") from error
  return out


def space_of(sample: Batch) -> tuple[int, ...]:
  """The spatial size of a sample (no batch axis); raises ValueError if no field is spatial."""
  for field, values in sample.items():
    row = None if isinstance(values, Mapping) else kind(field)
    if row is not None and row.spatial:
      return tuple(values.shape[: values.ndim - row.channels])
  raise ValueError(
    f"sample: none of its fields ({', '.join(sample)}) is spatial; expected one of "
    f"{', '.join(name for name, row in FIELDS.items() if row.spatial)}."
  )


def inputs(sample: Batch) -> Batch:
  """What a network may be given where it is applied: all but the targets."""
  return {
    name: inputs(values) if isinstance(values, Mapping) else values
    for name, values in sample.items()
    if isinstance(values, Mapping) or not kind(name).target
  }


def swap_classes(row: Kind, values: Array, pairs: Sequence[tuple[int, int]]) -> Array:
  """Exchanges classes in pairs, as a mirror image of left and right does; of other kinds nothing.

  Raises ValueError for a pair that it has no channels for.
  """
  if not row.classes or not pairs:
    return values
  xp = np if isinstance(values, np.ndarray) else jnp
  if row.channels:
    order = np.arange(values.shape[-1])
    for a, b in pairs:
      if max(a, b) >= len(order):
        raise ValueError(
          f"swap {(a, b)} names a class that its {len(order)} channels lack; expected pairs of "
          "class indices (LabelSpec.mirror_pairs, options `swap`)."
        )
      order[[a, b]] = b, a
    return values[..., order]
  swapped = values
  for a, b in pairs:
    swapped = xp.where(values == a, b, xp.where(values == b, a, swapped)).astype(values.dtype)
  return swapped


class Target(NamedTuple):
  """All that a loss may look at.

  Attributes:
    labels: (b, *space) int32, or (b, *space, k) float for soft or region labels.
    weight: (b, *space) float, 0 = ignored; None means 1 everywhere.
    maps: named per-voxel maps, for example {"distance": (b, *space, k)}.
    step: scalar int32, the training step, for schedules.
    spacing: (b, rank), size of the voxels in millimetres; None if unknown.
    image: (b, *space, channels) that the network is given; None if unknown.
  """

  labels: Array
  weight: Array | None = None
  maps: dict[str, Array] = {}  # noqa: RUF012  (never mutated)
  step: Array | int = 0
  spacing: Array | None = None
  image: Array | None = None


def target(batch: Batch, step: Array | int = 0) -> Target:
  """The part of a batch that a loss may look at.

  Without labels it is what a `scribble` marks: the weight is 0 where it marks nothing.
  """
  labelled = "soft_label" in batch or "label" in batch or "scribble" not in batch
  known = "soft_label" if "soft_label" in batch else "label" if labelled else "scribble"
  labels, weight = batch[known], batch.get("weight")
  if not labelled:
    weight = labels.max(-1) * (1 if weight is None else weight)
  maps = {
    name: values
    for name, values in batch.items()
    if not isinstance(values, Mapping) and kind(name).map
  }
  return Target(labels, weight, maps, step, batch.get("spacing"), batch.get("image"))
