"""Normalisation inside of an exported program: windows of stored intensities, and four numbers.

Where an intensity is NaN there is nothing: outside of the scan, or of the body where only voxels of
the body are normalised. It becomes 0, as `Preparation.place` and the padding of windows have it.
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from jaxseg.data.prepared.normalise import TINY

# what a program is told of a whole scan, per channel
STATISTICS = ("minimum", "maximum", "mean", "std")
_MINIMUM, _MAXIMUM, _MEAN, _STD = range(4)
# schemes with numbers of each scan's own
_OF_A_SCAN = {"zscore": (_MEAN, _STD), "minmax": (_MINIMUM, _MAXIMUM)}
# of pictures whose type does not come with them
_LARGEST = 255.0


def numbers(schemes: Sequence[Mapping]) -> np.ndarray:
  """(4, channels) float32 lower and upper ends, what is taken off and what is divided by.

  The last two are 0 and 1 for channels whose scan tells them.
  """
  return np.array([_numbers(dict(scheme)) for scheme in schemes], np.float32).T


def _numbers(scheme: dict) -> tuple[float, float, float, float]:
  lower, upper, name = -np.inf, np.inf, scheme["name"]
  if name in ("ct", "window"):
    lower, upper = scheme["lower"], scheme["upper"]
  if name in ("ct", "standard"):
    return lower, upper, scheme["mean"], max(scheme["std"], TINY)
  if name == "window":
    half = 2 if scheme.get("signed") else 1
    return lower, upper, (lower + upper) / 2 if half == 2 else lower, (upper - lower) / half
  if name == "rgb":
    return lower, upper, 0.0, scheme.get("maximum") or _LARGEST
  return lower, upper, 0.0, 1.0


def of_a_scan(schemes: Sequence[Mapping]) -> bool:
  """Whether any channel is normalised by numbers of each scan's own."""
  return any(scheme["name"] in _OF_A_SCAN for scheme in schemes)


def normalised(image, statistics, schemes: Sequence[Mapping], fixed):
  """(b, *space, channels) stored intensities -> what the network sees, float32; to be traced.

  Args:
    image: NaN where there is nothing.
    statistics: (4, channels), STATISTICS of the scan, of what is not NaN.
    schemes: one per channel, of which only the names and `signed` count.
    fixed: (4, channels), see `numbers`.
  """
  names = [scheme["name"] for scheme in schemes]
  signed = [scheme["name"] == "minmax" and bool(scheme.get("signed")) for scheme in schemes]
  lower, upper, shift, scale = fixed

  def along_channels(values):
    return jnp.reshape(jnp.asarray(values, jnp.float32), (1,) * (image.ndim - 1) + (-1,))

  if of_a_scan(schemes):
    pairs = []
    for i, name in enumerate(names):
      if name not in _OF_A_SCAN:
        pairs.append((shift[i], scale[i]))
        continue
      first, second = (statistics[row, i] for row in _OF_A_SCAN[name])
      width = second - first if name == "minmax" else second
      pairs.append((first, jnp.maximum(width, np.float32(TINY))))
    shift, scale = (jnp.stack(values) for values in zip(*pairs, strict=True))
  inside = image
  if {"ct", "window"} & set(names):
    inside = jnp.clip(image, along_channels(lower), along_channels(upper))
  inside = (inside - along_channels(shift)) / along_channels(scale)
  if any(signed):
    # after the division: a constant scan becomes the lower end, as in the preparation
    inside = inside * along_channels(np.add(signed, 1)) - along_channels(signed)
  return jnp.where(jnp.isnan(image), np.float32(0), inside)


def statistics(scan: np.ndarray) -> np.ndarray:
  """(*space, channels) -> (4, channels) float32, STATISTICS of what is not NaN; 0 of nothing."""
  flat = np.asarray(scan, np.float64).reshape(-1, scan.shape[-1])
  out = np.zeros((len(STATISTICS), scan.shape[-1]), np.float32)
  for i, channel in enumerate(flat.T):
    inside = channel[~np.isnan(channel)]
    if inside.size:
      out[:, i] = inside.min(), inside.max(), inside.mean(), inside.std()
  return out
