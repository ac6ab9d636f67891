"""What flows through the program: the fields of a batch, the target of a loss, the labels.

A batch is a dict of arrays whose first axis is the batch; a further stream, or what another network
is to see, is a batch of its own, nested under its name. A sample is one element of it, the same
fields without that axis, and so is a whole case. Strings never enter a batch.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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


@dataclasses.dataclass(frozen=True)
class LabelSpec:
  """The labels of a data set: static, saved in the run folder.

  Attributes:
    names: name of each class, background first; of each region where `regions` is set.
    stored_values: the value that each class has in the user's files.
    regions: None, or for each region the stored values it unites (overlapping classes, trained
      with sigmoids). The order is the order of writing: later regions overwrite earlier ones.
    ignore: stored value of voxels that are not annotated, or None.
    mirror_pairs: pairs of class indices that swap when left and right are mirrored.
  """

  names: tuple[str, ...]
  stored_values: tuple[int, ...]
  regions: tuple[tuple[int, ...], ...] | None = None
  ignore: int | None = None
  mirror_pairs: tuple[tuple[int, int], ...] = ()

  @property
  def channels(self) -> int:
    """Number of scores that a network gives per voxel."""
    return len(self.regions) if self.regions else len(self.stored_values)

  @property
  def first(self) -> int:
    """The first channel that counts: class 0 is the background, of regions none is."""
    return 0 if self.regions else 1

  @property
  def scored(self) -> tuple[str, ...]:
    """Names of the classes that count, or of the regions."""
    return self.names[self.first :]

  @property
  def field(self) -> str:
    """The field of a sample that holds them."""
    return "soft_label" if self.regions else "label"

  @property
  def members(self) -> tuple[tuple[int, ...], ...]:
    """The stored values of each class that counts, or of each region."""
    return self.regions or tuple((value,) for value in self.stored_values[1:])

  @property
  def written(self) -> tuple[int, ...]:
    """The value that each class, or region, is written as: of a region the first of its values."""
    return tuple(of[0] for of in self.regions) if self.regions else self.stored_values

  @property
  def background(self) -> int:
    """The stored value of what belongs to no class; outside all regions it is 0."""
    return 0 if self.regions else self.stored_values[0]

  def by_name(self, values) -> dict[str, float]:
    """One value per channel -> name -> value, of those that count."""
    of = np.asarray(values)[self.first :].tolist()
    return dict(zip(self.scored, of, strict=True))

  def encode(self, stored: np.ndarray, where: str = "label"):
    """Stored values -> ((*space) int32 classes, or (*space, k) float regions; weight or None).

    Raises ValueError that names the unknown values and `where` they were found.
    """
    present = np.unique(stored)
    known = set(self.stored_values) | ({self.ignore} if self.ignore is not None else set())
    unknown = [v.item() for v in present if v.item() not in known]
    if unknown:
      raise ValueError(
        f"{where}: label value(s) {unknown[:8]} are not among the declared values "
        f"{sorted(known)}; add them to the data set's labels (dataset.json) or map them "
        "with `values`."
      )
    weight = None
    if self.ignore is not None:
      weight = (stored != self.ignore).astype(np.float32)
    if self.regions:
      return np.stack([np.isin(stored, r) for r in self.regions], -1).astype(np.float32), weight
    values = np.asarray(self.stored_values)
    order = np.argsort(values)
    encoded = order[np.minimum(np.searchsorted(values[order], stored), len(values) - 1)]
    if weight is not None:
      encoded = np.where(weight > 0, encoded, 0)
    return encoded.astype(np.int32), weight

  def classes(self, scores: np.ndarray) -> np.ndarray:
    """(*space, k) logits -> what `encode` makes of labels: (*space) classes, (*space, k) regions.

    int32; classes by argmax, regions by score > 0 (probability > 0.5).
    """
    return (scores > 0 if self.regions else np.argmax(scores, -1)).astype(np.int32)

  def index(self, encoded: np.ndarray) -> np.ndarray:
    """(*space) positions among the classes, or among the regions from 1, later ones on top."""
    if not self.regions:
      return encoded
    return _on_top(lambda k: encoded[..., k] > 0, range(1, self.channels + 1))

  def one_hot(self, encoded: np.ndarray) -> np.ndarray:
    """What `encode` makes of labels -> (*space, k) float32."""
    if self.regions:
      return encoded.astype(np.float32)
    return (encoded[..., None] == np.arange(self.channels)).astype(np.float32)

  def decode(self, scores, *, threshold: float = 0.0) -> np.ndarray:
    """Scores -> (*space) stored values, int32.

    Args:
      scores: (*space, k) logits or probabilities; or a function, class or region -> its (*space)
        scores, which is asked for one after the other, so that they never lie in memory together.
      threshold: classes go by the largest score, the first of equals; regions by score >
        `threshold`, 0 for logits and 0.5 for probabilities, later ones on top.
    """
    of = scores if callable(scores) else lambda k: scores[..., k]
    if self.regions:
      return _on_top(lambda k: of(k) > threshold, self.written)
    if not callable(scores):
      return np.asarray(self.written, np.int32)[np.argmax(scores, -1)]
    best = np.array(of(0), np.float32)
    out = np.full(best.shape, self.written[0], np.int32)
    for k in range(1, self.channels):
      current = of(k)
      higher = current > best
      np.copyto(best, current, where=higher)
      out[higher] = self.written[k]
    return out

  def to_json(self) -> str:
    return json.dumps(dataclasses.asdict(self))

  @classmethod
  def from_json(cls, text: str) -> "LabelSpec":
    """The inverse of `to_json`; raises ValueError, without the file, where it can't be that."""
    told = json.loads(text)
    if not isinstance(told, dict) or not {"names", "stored_values"} <= set(told):
      raise ValueError("expected an object with 'names' and 'stored_values'")
    known = {field.name for field in dataclasses.fields(cls)}
    if unknown := [name for name in told if name not in known]:
      raise ValueError(f"'{unknown[0]}' is no field of it")
    spec = cls(**{name: _frozen(value) for name, value in told.items()})
    named = spec.stored_values if spec.regions is None else spec.regions
    for name, good in (
      ("names", _all(spec.names, str) and len(spec.names) > 0),
      ("stored_values", _all(spec.stored_values, int)),
      ("regions", spec.regions is None or _all(spec.regions, tuple)),
      ("regions", spec.regions is None or all(_all(of, int) for of in spec.regions)),
      ("names", isinstance(named, tuple) and len(spec.names) == len(named)),
      ("ignore", spec.ignore is None or _all((spec.ignore,), int)),
      ("mirror_pairs", _all(spec.mirror_pairs, tuple)),
    ):
      if not good:
        raise ValueError(f"its '{name}' are {told.get(name)!r}, which do not fit")
    return spec


def _on_top(inside, values) -> np.ndarray:
  """The value of each region where `inside` of its number says so, later ones on top; else 0."""
  out = None
  for k, value in enumerate(values):
    mask = inside(k)
    out = np.zeros(mask.shape, np.int32) if out is None else out
    out[mask] = value
  return out


def _frozen(value):
  return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def _all(values, kind: type) -> bool:
  """Whether it is a tuple of that kind alone."""
  return isinstance(values, tuple) and all(type(value) is kind for value in values)
