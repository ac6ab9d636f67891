"""Channels that cases lack, by chance or by nature: what a config may ask of them."""

from collections.abc import Mapping
from typing import Any

from jaxseg.config.synthesis import SYNTHESIS
from jaxseg.data.prepared.normalise import needs_statistics
from jaxseg.data.sources.source import Source

DROPOUT = "modality_dropout"


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
  if (drops or source.incomplete) and config["task"]["name"] == SYNTHESIS:
    raise ValueError(
      f"{asks}: config.task makes images, of all its inputs; expected complete cases, and no "
      "modality dropout."
    )
  for case, lacking in sorted(source.incomplete.items()):
    for name, scheme in zip(source.channels, schemes, strict=True):
      if name in lacking and needs_statistics(scheme):
        raise ValueError(
          f"config.data.normalise: '{scheme['name']}' takes its numbers from the training cases, "
          f"and case '{case}' has no {name}; give the numbers of this channel, or choose a scheme "
          "of each case's own, as 'zscore'."
        )
