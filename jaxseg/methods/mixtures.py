"""CutMix among images without labels: each has a box of the next one of the batch."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxseg.augment.boxes import pasted, random_boxes
from jaxseg.augment.draws import checked_range
from jaxseg.batch import Array

Mix = Callable[[Array], jax.Array]


def checked_area(method: str, area: tuple[float, float]) -> tuple[float, float]:
  """The shares of an image that may come from another one; ValueError for what is no range."""
  return checked_range(f"{method}: area", area, 0.0, 1.0)


def optional(
  method: str, cutmix: float, area: tuple[float, float]
) -> Callable[..., list[Mix]] | None:
  """`mixtures` with a method's options, or None where nothing is ever mixed."""
  area = checked_area(method, area)
  return functools.partial(mixtures, method, p=cutmix, area=area) if cutmix else None


def mixtures(
  method: str,
  key: jax.Array,
  count: int,
  space: Sequence[int],
  *,
  p: float,
  area: tuple[float, float],
  ratio: float = 1.0,
  views: int = 1,
) -> list[Mix]:
  """Of each view (count, *space[, channels]) -> the same with boxes of the next image.

  What is said of the images, a map of the same space or the middle of it, is mixed likewise.
  French et al. 2020 (1906.01916); there the boxes cover half of an image, `area=(0.5, 0.5)`.

  Args:
    method: whose option `cutmix` it is, for messages.
    key: random key.
    count: images of the batch.
    space: their voxels along each axis.
    p: probability of each to be mixed.
    area: the share of it that comes from the other one, drawn evenly.
    ratio: see `random_boxes`.
    views: how many there are, each with boxes of its own.
  """
  if p and count < 2:
    raise ValueError(
      f"{method}: a batch of one image without labels has no second one for CutMix; expected at "
      "least 2 (config.streams.unlabelled.batch), or cutmix=0."
    )
  boxes = random_boxes(key, views * count, space, p=p, share=area, ratio=ratio)

  def mixed(inside) -> Mix:
    return lambda x: pasted(inside, x, jnp.roll(x, -1, 0))

  return [mixed(inside) for inside in jnp.split(boxes, views)]
