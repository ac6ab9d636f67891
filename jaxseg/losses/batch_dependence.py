"""Whether a loss is a mean over samples, or looks at a batch as a whole."""

from collections.abc import Mapping

import numpy as np

from jaxseg.batch import Target
from jaxseg.losses.combination import Loss

SPACE = (16, 12)


class _Maps(Mapping):
  """Maps of any name, one for each class, or for all of a voxel if it is asked for by `weight`."""

  def __init__(self, values: np.ndarray, per_class: bool):
    self._values = values if per_class else values[..., 0]

  def __getitem__(self, name: str) -> np.ndarray:
    return self._values

  def __contains__(self, name: object) -> bool:
    return True

  def __iter__(self):
    return iter(())

  def __len__(self) -> int:
    return 0


def depends_on_batch(loss: Loss, *, channels: int, labels: str = "index", ignored=False) -> bool:
  """Whether the loss of two samples is another than the mean of the losses of each alone.

  It is tried on two made images whose classes have other shares, not read from its options; what
  cannot be tried is taken to depend.

  Args:
    loss: (logits, Target) -> scalar.
    channels: of the logits.
    labels: "index" of a class, "soft" or "image", which have the channels of the logits.
    ignored: some voxels have weight 0, more in one sample than in the other.
  """
  random = np.random.default_rng(0)
  logits = random.normal(size=(2, *SPACE, channels)).astype(np.float32)
  if labels == "index":
    drawn = random.random((2, *SPACE)) * np.array([0.5, 1.0]).reshape(2, 1, 1)
    truth = np.floor(drawn * max(channels, 2)).astype(np.int32)
  else:
    truth = random.random(logits.shape).astype(np.float32)
    if labels == "soft":
      truth = (truth > np.array([0.8, 0.3]).reshape(2, 1, 1, 1)).astype(np.float32)
  weight = None
  if ignored:
    weight = (random.random((2, *SPACE)) > np.array([0.2, 0.7]).reshape(2, 1, 1)).astype(np.float32)
  maps = random.random(logits.shape).astype(np.float32)
  image = random.random((2, *SPACE, 1)).astype(np.float32)

  def value(samples: slice, per_class: bool) -> float:
    part = None if weight is None else weight[samples]
    named = _Maps(maps[samples], per_class)
    target = Target(truth[samples], part, named, np.int32(0), image=image[samples])
    return float(loss(logits[samples], target))

  for per_class in (True, False):
    try:
      together, alone = _values(value, per_class=per_class)
      break
    except (ValueError, TypeError):
      continue
  else:
    return True
  return not np.isclose(together, np.mean(alone), rtol=1e-4, atol=1e-6)


def _values(value, *, per_class: bool) -> tuple[float, list[float]]:
  return value(slice(0, 2), per_class), [value(slice(i, i + 1), per_class) for i in range(2)]
