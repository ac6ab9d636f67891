"""Prompts of a user, points, boxes, strokes and earlier segmentations, as a network sees them.

`pack` checks a list of prompts on the host; `fields` makes maps of them on the device, under jit
and vmap; each map is a field of a batch with its kind (`jaxseg.batch.FIELDS`). A segmentation that
the user goes on from, as a mask or as logits, is the field "previous".
"""

from jaxseg.interaction.distances import (
  distance_to_points,
  distance_to_strokes,
  geodesic_distance,
)
from jaxseg.interaction.encoding import Encoding, channels, encoding_of, joined, show
from jaxseg.interaction.maps import ball, boxes, clipped, disk, faded, gaussian, tanh
from jaxseg.interaction.next_click import Click, next_click, unclicked
from jaxseg.interaction.prompts import POINTS, Prompts, fields, pack

__all__ = [
  "POINTS",
  "Click",
  "Encoding",
  "Prompts",
  "ball",
  "boxes",
  "channels",
  "clipped",
  "disk",
  "distance_to_points",
  "distance_to_strokes",
  "encoding_of",
  "faded",
  "fields",
  "gaussian",
  "geodesic_distance",
  "joined",
  "next_click",
  "pack",
  "show",
  "tanh",
  "unclicked",
]
