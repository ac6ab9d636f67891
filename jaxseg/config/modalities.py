"""Channels that cases lack, by chance or by nature: what a config may ask of them."""

from collections.abc import Mapping
from typing import Any

from jaxseg.build import options_of
from jaxseg.config.synthesis import makes_images
from jaxseg.data.prepared.normalise import needs_statistics
from jaxseg.data.sources.source import Source
from jaxseg.methods import METHODS

DROPOUT = "modality_dropout"
# the method that always pastes a part of one image into another, and the option of others to do so
_PASTES, _CUTMIX = "copy_paste", "cutmix"


def drops_modalities(config: Mapping[str, Any]) -> bool:
  """Whether training takes channels away."""
  return any(spec.get("name", key) == DROPOUT for key, spec in config["augment"].items())


def check(config: Mapping[str, Any], source: Source, schemes, channels: int) -> None:
  """Raises ValueError for what has no meaning, before data are read.

  Args:
    config: of a stream, as of a run whose main stream it were.
    source: its cases.
    schemes: the normalisation of each of the source's channels.
    channels: of what the network is given.
  """
  drops = drops_modalities(config)
  if drops and channels == 1:
    raise ValueError(
      f"config.augment.{DROPOUT}: the image has one channel, which always stays; leave it out, or "
      "choose a data set of several channels."
    )
  asks = "config.data.source.incomplete" if source.incomplete else f"config.augment.{DROPOUT}"
  if (drops or source.incomplete) and makes_images(config):
    raise ValueError(
      f"{asks}: config.task makes images, of all its inputs; expected complete cases, and no "
      "modality dropout."
    )
  if (drops or source.incomplete) and (option := _pastes(config["method"])):
    raise ValueError(
      f"{asks}: the method {option} pastes a part of one image into another, which may lack other "
      "channels; expected complete cases and no modality dropout, or a method that does not."
    )
  for case, lacking in sorted(source.incomplete.items()):
    for name, scheme in zip(source.channels, schemes, strict=True):
      if name in lacking and needs_statistics(scheme):
        raise ValueError(
          f"config.data.normalise: '{scheme['name']}' takes its numbers from the training cases, "
          f"and case '{case}' has no {name}; give the numbers of this channel, or choose a scheme "
          "of each case's own, as 'zscore'."
        )


def _pastes(method: Mapping[str, Any]) -> str:
  """What of a method mixes images in its own step, in words; "" where nothing does."""
  name = method["name"]
  if name == _PASTES:
    return f"'{name}'"
  options = options_of(METHODS[name])
  if _CUTMIX not in options:
    return ""
  value = method.get(_CUTMIX, options[_CUTMIX].default)
  return f"'{name}' ({_CUTMIX}={value}; 0 does without)" if value else ""
