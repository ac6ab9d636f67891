"""config.views: what a method sees beside the batch, made of transforms that move no voxel."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxseg import augment
from jaxseg.build import bind


def transforms(specs: Mapping[str, Any], field: str) -> dict[str, Callable]:
  """The transforms of a view, their options bound; `field` is "views.strong".

  Raises ValueError in words for one that changes more than intensities, and where nothing is ever
  changed.
  """
  every = {**augment.AUGMENTATIONS, **augment.MIXTURES}
  bound = {}
  for key, spec in specs.items():
    name = spec.get("name", key)
    if name in every and name not in augment.VIEWS:
      raise ValueError(
        f"config.{field}.{key}: '{name}' changes more than intensities, and views of an image "
        f"must correspond voxel by voxel; what moves voxels belongs in config.augment, which all "
        f"views share; choices: {', '.join(augment.VIEWS)}."
      )
    bound[key] = bind(augment.VIEWS, {"name": key, **spec}, f"{field}.{key}")
  if all(transform.keywords.get("p") == 0 for transform in bound.values()):
    never = f"p is 0 for {', '.join(bound)}" if bound else "it is empty"
    raise ValueError(
      f"config.{field}: {never}, so that this view never changes an image; expected transforms, as "
      f"config.{field}=dict(noise=dict(p=1.0)), or to leave an optional view out."
    )
  return bound
