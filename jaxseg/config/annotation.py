"""config.data.annotation: what training cases learn from, and what of a config contradicts it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.batch import kind
from jaxseg.build import check as check_component
from jaxseg.build import suggestion

FULL = "label"
# the fields that are drawn as labels are: which class is where, as far as anyone says
MARKED = ("scribble", "pseudo_label", "previous", "clicks", "box")
# those that may stand in the place of full labels
_MIXED = ("cutmix", "mixup")  # augment.MIXTURES, which loads JAX
ANNOTATIONS = ("scribble", "pseudo_label", "box")


def is_full(config: Mapping[str, Any]) -> bool:
  """Whether training cases learn from their full labels."""
  return config["data"]["annotation"] == FULL


def check_fields(
  fields: Mapping[str, Any], *, marks: Mapping[str, Callable], boxes: Mapping[str, Callable]
) -> None:
  """Raises ValueError for a field that nobody draws, and for what cannot give it.

  `marks` and `boxes` are name -> what makes marks of classes, and boxes.
  """
  for key, spec in fields.items():
    if key not in MARKED:
      raise ValueError(
        f"config.data.fields.{key}: no field that files of labels give"
        f"{suggestion(key, MARKED)}; choices: {', '.join(MARKED)}."
      )
    check_component(boxes if kind(key).bounds else marks, spec, f"data.fields.{key}", later=True)


def check_losses(
  config: Mapping[str, Any],
  losses: Iterable[tuple[str, str, Mapping[str, Any]]],
  needed: Mapping[str, Sequence[str]],
) -> None:
  """Raises ValueError for a field that a loss looks at, and that the main stream's cases lack.

  `losses` are (field of the config, name, options) of each loss, `needed` is name of a loss ->
  the fields of a batch that it looks at.
  """
  for where, key, spec in losses:
    for field in needed.get(spec.get("name", key), ()):
      if field not in config["data"]["fields"]:
        raise ValueError(
          f"config.{where}.{key}: looks at '{field}', which no case has; expected "
          f'config.data.fields.{field}=dict(name="label_boxes"), or name="box_file".'
        )


def check(config: Mapping[str, Any]) -> None:
  """Raises ValueError for fields that contradict what training learns from."""
  options = config["data"]
  annotation, fields = options["annotation"], options["fields"]
  choices = (FULL, *ANNOTATIONS)
  if annotation not in choices:
    raise ValueError(
      f"config.data.annotation: '{annotation}' is unknown{suggestion(annotation, choices)}; "
      f"choices: {', '.join(choices)}."
    )
  if "box" in fields:
    _check_boxes(config)
  if annotation == FULL:
    return
  if annotation not in fields:
    raise ValueError(
      f"config.data.annotation: '{annotation}', but config.data.fields doesn't say where it comes "
      f'from; expected config.data.fields.{annotation}=dict(name="folder", path=...), or another '
      "name."
    )
  if config["plan"]:
    raise ValueError(
      f"config.data.annotation: '{annotation}', but a plan measures full labels (config.plan); "
      "write the fields that it would decide into the config."
    )


def check_maps(config: Mapping[str, Any], maps: Mapping[str, Any]) -> None:
  """Raises ValueError for maps that losses need, and that only full labels give."""
  if maps and not is_full(config):
    raise ValueError(
      f"config.data.annotation: '{config['data']['annotation']}', but a loss needs the map "
      f"'{next(iter(maps))}', which is made of full labels; leave the loss out, or its weight_map."
    )


def _check_boxes(config: Mapping[str, Any]) -> None:
  """Boxes have the axes of the patch, and stay boxes."""
  options = config["data"]
  axis, slices = options["fields"]["box"].get("axis"), options["slices"]
  # boxes lie on the image as it is stored
  stored = slices if slices is None or not options["transpose"] else options["transpose"][slices]
  if axis != stored:
    turned = "" if stored == slices else f" of axes {tuple(options['transpose'])}"
    raise ValueError(
      f"config.data.fields.box.axis: {axis}, but config.data.slices is {slices}{turned}; expected "
      f"{stored}: boxes of each slice for a network of slices, else None."
    )
  for key, spec in config["augment"].items():
    if spec.get("name", key) in _MIXED:
      raise ValueError(
        f"config.augment.{key}: cuts the boxes of config.data.fields.box where it mixes samples, "
        "and what is left of one touches its object no more; expected it left out."
      )
    if spec.get("name", key) == "spatial" and _turns(spec):
      raise ValueError(
        f"config.augment.{key}: turns or bends the boxes of config.data.fields.box, which then are "
        "none; expected p_rotation=0.0 (and no p_shear, no p_elastic), or the augmentation left "
        "out."
      )


def _turns(spec: Mapping[str, Any]) -> bool:
  """Whether `spatial` makes of a box what is none."""
  rotation = spec.get("rotation")
  still = rotation is not None and not any(np.ravel(rotation))
  turned = 0.0 if still else spec.get("p_rotation", 0.2)
  return any((turned, spec.get("p_shear"), spec.get("p_elastic")))
