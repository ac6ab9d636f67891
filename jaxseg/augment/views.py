"""Views of a batch: the same voxels with other intensities, for methods that compare outputs."""

from collections.abc import Callable, Mapping, Sequence

import jax

from jaxseg.augment.chains import Transform, batched, chain
from jaxseg.augment.modalities import without_missing
from jaxseg.augment.order import AUGMENTATIONS
from jaxseg.batch import Batch, kind

View = Callable[[jax.Array, Batch], Batch]

# what changes intensities alone; two views of what moves voxels would not correspond
VIEWS = {
  name: AUGMENTATIONS[name]
  for name in (
    "bias_field",
    "ghosting",
    "gibbs",
    "noise",
    "blur",
    "brightness",
    "contrast",
    "intensity_window",
    "low_resolution",
    "gamma_inverted",
    "gamma",
    "channel_dropout",
    "cutout",
  )
}


def view(
  transforms: Mapping[str, Transform] | Sequence[Transform],
  mesh: jax.sharding.Mesh | None = None,
  *,
  axis: str = "batch",
) -> View:
  """(key, batch) -> the batch, its images as the transforms leave them, all else as it was.

  Args:
    transforms: of `VIEWS`, their options bound; see `chain`.
    mesh: over whose `axis` the batch is split; None for one device. See `batched`.
    axis: the mesh axis of the batch.
  """
  transform = chain(transforms)

  def apply(key, batch: Batch) -> Batch:
    images = {
      name: values
      for name, values in batch.items()
      if not isinstance(values, Mapping) and kind(name).intensity
    }
    # noise stays out of the channels that a sample lacks
    return without_missing({**batch, **batched(transform, mesh, axis=axis)(key, images)})

  return apply
