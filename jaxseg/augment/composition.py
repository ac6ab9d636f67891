"""Several transforms as one."""

from collections.abc import Callable, Mapping, Sequence

import jax

from jaxseg.augment.geometry import mirror, spatial
from jaxseg.augment.intensity import brightness, contrast, gamma, noise
from jaxseg.augment.resampling import centre_crop, space_of
from jaxseg.batch import Batch

Transform = Callable[[jax.Array, Batch], Batch]

# nnU-Net's order (arXiv 1809.10486)
ORDER = (spatial, noise, brightness, contrast, gamma, mirror)


def _position(step: Transform) -> int:
  function = getattr(step, "func", step)  # what a functools.partial binds
  return ORDER.index(function) if function in ORDER else len(ORDER)


def chain(
  transforms: Mapping[str, Transform] | Sequence[Transform], patch: Sequence[int] | None = None
) -> Transform:
  """Composes transforms into one `(key, sample) -> sample`.

  Args:
    transforms: `(key, sample) -> sample`, options bound. A sequence is applied as it stands; a
      mapping in nnU-Net's order (`ORDER`; others after them), because the named sub-dicts of a
      config have none: ml_collections sorts them by name. Each transform gets a key of its own,
      the chain's folded with its position.
    patch: size of the result: whatever is still larger (no `spatial` cropped it) is cropped
      around its centre. None keeps the size.

  Returns:
    The composed transform; it raises ValueError where the sample is smaller than `patch`.
  """
  if isinstance(transforms, Mapping):
    steps = sorted(transforms.values(), key=_position)
  else:
    steps = list(transforms)

  def apply(key, sample: Batch) -> Batch:
    for position, step in enumerate(steps):
      sample = step(jax.random.fold_in(key, position), sample)
    if patch is not None and space_of(sample) != tuple(patch):
      sample = centre_crop(sample, patch)
    return sample

  return apply
