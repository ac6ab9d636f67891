"""All that a server has: runs, scans, sessions, maps that were asked for, trainings."""

import collections
from collections.abc import Mapping
from typing import Any

from jaxseg.serve.annotations import Annotations
from jaxseg.serve.models import Model
from jaxseg.serve.scans import Scans
from jaxseg.serve.training import Trainings
from jaxseg.serve.uploads import Limits

# maps of explanations that stay in memory
_KEPT = 8


class Recent(collections.OrderedDict):
  """A dict that keeps what was put in last."""

  def __setitem__(self, key, value) -> None:
    super().__setitem__(key, value)
    self.move_to_end(key)
    while len(self) > _KEPT:
      self.popitem(last=False)


class Studio:
  """A server's state, shared by the page and the REST API.

  Attributes:
    models: by name.
    scans, annotations, trainings: on disk, in one folder.
    maps: session -> (*space) values of the last explanation.
    starts: (model, scan, stamp of its files) -> a session's scan and its automatic start, for
      clients without sessions.
    uncertainties: scan -> the stamp of its files, and what the first model says of it.
    limits: of uploads.
  """

  def __init__(self, served: Mapping[str, Model], scans: Scans, limits: Limits):
    self.models, self.scans, self.limits = served, scans, limits
    self.annotations = Annotations(scans, served)
    self.trainings = Trainings(scans, served)
    self.maps: dict[str, Any] = Recent()
    self.starts: dict[tuple[str, str, str], Any] = Recent()
    self.uncertainties: dict[str, tuple[str, float]] = {}

  def forget(self, name: str) -> None:
    """Removes an uploaded scan, and what was computed of it; Refusal as `Scans.remove`."""
    own = self.scans.get(name).name
    self.scans.remove(own)
    self.annotations.forget(own)
    for key in [key for key in self.starts if key[1] == own]:
      del self.starts[key]
    self.uncertainties.pop(own, None)
