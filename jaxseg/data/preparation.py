"""What is done to an image before a network sees it, and how its output goes back."""

import dataclasses
import json

import numpy as np

from jaxseg import build
from jaxseg.data.geometry import Geometry, orient, restore
from jaxseg.data.normalise import NORMALISATIONS
from jaxseg.data.source import RawCase, check_image


@dataclasses.dataclass(frozen=True)
class Preparation:
  """From the user's image to the network's input and back; saved in the run folder.

  Attributes:
    channels: names of the image channels.
    rank: number of spatial axes.
    normalisation: per channel {"name": ..., **options}, every number filled in.
    orientation: "stored" or "RAS".
  """

  channels: tuple[str, ...]
  rank: int
  normalisation: tuple[dict, ...]
  orientation: str = "stored"

  def apply(self, raw: RawCase, where: str = "the image") -> np.ndarray:
    """(*space, channels) float32, normalised, in the training orientation.

    Raises ValueError if rank or channels differ from the training set's, or voxels are not finite.
    """
    check_image(raw.image, where, channels=len(self.channels), rank=self.rank)
    image = orient(raw.image, raw.geometry, self.orientation)
    out = np.empty(image.shape, np.float32)
    for i, scheme in enumerate(self.normalisation):
      out[..., i] = build.bind(NORMALISATIONS, scheme, "data.normalise")(image[..., i])
    return out

  def restore(self, array: np.ndarray, geometry: Geometry) -> np.ndarray:
    """(*space[, k]) in the training orientation -> on the grid of the input image."""
    return restore(array, geometry, self.orientation)

  def to_json(self) -> str:
    return json.dumps(dataclasses.asdict(self))

  @classmethod
  def from_json(cls, text: str) -> "Preparation":
    fields = json.loads(text)
    for name in ("channels", "normalisation"):
      fields[name] = tuple(fields[name])
    return cls(**fields)
