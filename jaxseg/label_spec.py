"""The labels of a data set: what each value in its files is called, and which of them unite."""

import dataclasses
import json

import numpy as np


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
