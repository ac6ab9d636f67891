"""What each network of a config is given, by shapes alone: to tell its layers and what it costs."""

from collections.abc import Mapping
from typing import Any

import jax

from jaxseg.batch import LabelSpec, inputs
from jaxseg.compose import method
from jaxseg.config import rehearsal, synthesis
from jaxseg.config.streams import UNLABELLED, as_main
from jaxseg.networks.describe import input_shapes

Shape = tuple[int, ...]


def batch(
  config: dict[str, Any], shape: Shape, classes: int, *, fields: tuple[str, ...] = ()
) -> dict[str, Any]:
  """The shapes of what the method is fed: (b, *patch, channels) = shape, `fields` of these too."""
  labels = LabelSpec(tuple(f"class {k}" for k in range(classes)), tuple(range(classes)))
  made = len(synthesis.target_names(config))
  main = rehearsal.batch_shapes(shape[:-1], shape[-1], labels, made=made)
  further = {name: _of_stream(config, name, main) for name in config["streams"]}
  more = rehearsal.batch_shapes(shape[:-1], shape[-1], labels, made=made, fields=fields)
  return {**more, **further}


def _of_stream(config: dict[str, Any], name: str, main: dict[str, Any]) -> dict[str, Any]:
  """The shapes of a further stream, its batch as large beside the main one's as in the config."""
  ours, theirs = (of["data"]["batch"] for of in (config, as_main(config, name)))
  count = max(1, round(main["image"].shape[0] * theirs / ours))
  resized = {key: jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype) for key, x in main.items()}
  bare = config["streams"][name].get("cases") == UNLABELLED
  return inputs(resized) if bare else resized


def shapes(
  config: dict[str, Any], networks: Mapping[str, Any], shape: Shape, classes: int
) -> dict[str, list[Shape]]:
  """Role -> the shape of each input that the method gives this network when it begins.

  What a cascade's first stage has segmented, and what a user marks, are further channels of the
  image. Nothing is computed.

  Args:
    config: complete.
    networks: by role.
    shape: (b, *patch, channels) of the images.
    classes: of the labels.
  """
  fields = ("prior",) if config["data"]["prior"] else ()
  named = {role: net.clone(name=role) for role, net in networks.items()}
  scheme = method({**config, "average": 0.0, "members": 1}, named)
  with rehearsal.one_line_errors("config.method"):
    seen = input_shapes(scheme.init, batch(config, shape, classes, fields=fields))
  return {"network": [shape]} | seen
