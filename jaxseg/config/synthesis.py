"""What a config that makes images may not ask for, said before data are read."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.augment import VIEWS
from jaxseg.data.prepared.pairs import LABEL

# channels of one case from others, or from its label; images of one domain from another's
SYNTHESIS, TRANSLATION = "synthesis", "translation"


def makes_images(config: Mapping[str, Any]) -> bool:
  """Whether what the config's networks put out are images."""
  return config["task"]["name"] in (SYNTHESIS, TRANSLATION)


def check(config: Mapping[str, Any]) -> None:
  """Raises ValueError for fields that are of segmentation alone; nothing for other tasks."""
  if not makes_images(config):
    return
  options, paired = config["data"], config["task"]["name"] == SYNTHESIS
  task = "config.task makes images"
  for field, value, advice in (
    ("config.plan", config["plan"], "plans are of segmentation: write the fields into the config"),
    ("config.data.prior", options["prior"], "a cascade's stages segment: leave it out"),
    ("config.data.maps", options["maps"], "maps are made of labels: leave it out"),
    (
      "config.data.crop_nonzero",
      options["crop_nonzero"] and paired,
      "the box would be that of inputs and targets together, and a case to be predicted has no "
      "target: set it to False",
    ),
    (
      "config.evaluate.probabilities",
      config["evaluate"]["probabilities"],
      "an image has none: set it to False",
    ),
  ):
    if value:
      raise ValueError(f"{field}: {value!r}, but {task}; {advice}.")
  each = options["normalise"]
  for scheme in each if isinstance(each, Sequence) and not isinstance(each, str) else (each,):
    if paired and isinstance(scheme, Mapping) and scheme.get("nonzero"):
      raise ValueError(
        f"config.data.normalise: nonzero=True, but {task}; the nonzero voxels would be those of "
        "inputs and targets together, and a case to be predicted has no target: leave it out."
      )
  for key, spec in config["augment"].items():
    if spec.get("swap"):
      raise ValueError(
        f"config.augment.{key}.swap: {spec['swap']}, but {task}, which have no classes to swap; "
        "leave it out."
      )
    if from_label(config) and spec.get("name", key) in VIEWS:
      raise ValueError(
        f"config.augment.{key}: changes the intensities of what a network is given, which are a "
        f"label map's classes (config.task.inputs='{LABEL}'), and not those of the image that is "
        "made; leave it out."
      )


def target_names(config: Mapping[str, Any]) -> tuple[str, ...]:
  """Names of the case's own channels that are made of others; () of other tasks."""
  return tuple(config["task"]["targets"]) if config["task"]["name"] == SYNTHESIS else ()


def input_channels(config: Mapping[str, Any], channels: int, classes: int) -> int:
  """How many channels a network is given, of a data set with so many channels and classes."""
  if config["task"]["name"] != SYNTHESIS:
    return channels
  return classes if from_label(config) else len(config["task"]["inputs"])


def from_label(config: Mapping[str, Any]) -> bool:
  """Whether images are made of labels."""
  return config["task"].get("inputs") == LABEL


def needs_labels(config: Mapping[str, Any]) -> bool:
  """Whether cases without labels are of no use to the main stream."""
  return not makes_images(config) or from_label(config)


def swaps(config: Mapping[str, Any]) -> bool:
  """Whether left and right classes swap in mirror images; those of an image have none."""
  return not makes_images(config)


def check_mirrors(config: Mapping[str, Any], pairs: Sequence, sideways: int | None) -> None:
  """Raises ValueError where a label that is the input would be mirrored with its sides unswapped.

  Args:
    config: checked.
    pairs: the label's classes of left and right.
    sideways: the axis from left to right of a patch, None if it has none.
  """
  if not pairs or sideways is None or config["task"].get("inputs") != LABEL:
    return
  rank = len(config["data"]["patch"])
  for key, spec in config["augment"].items():
    if spec.get("name", key) != "mirror":
      continue
    axes = spec.get("axes")
    if axes is None or sideways in {axis % rank for axis in axes}:
      left = tuple(axis for axis in range(rank) if axis != sideways)
      raise ValueError(
        f"config.augment.{key}: mirrors left and right, whose classes would keep their sides in a "
        f"label that is the input; expected axes={left}."
      )


def normalisation(config: Mapping[str, Any], channels: Sequence[str]) -> Any:
  """config.data.normalise; of targets, 'auto' is what can be undone: 'standard'.

  What names one scheme for all is one for each channel then.
  """
  given = config["data"]["normalise"]
  if config["task"]["name"] != SYNTHESIS:
    return given
  one = isinstance(given, str | Mapping)
  each = (given,) * len(channels) if one else tuple(given)
  if len(each) != len(channels):
    return given  # told where all schemes are checked
  targets = config["task"]["targets"]
  return tuple(
    "standard" if channel in targets and _auto(scheme) else scheme
    for scheme, channel in zip(each, channels, strict=True)
  )


def _auto(scheme) -> bool:
  return (scheme.get("name") if isinstance(scheme, Mapping) else scheme) == "auto"
