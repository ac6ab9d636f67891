"""What users do with scans: one session each, which outlives the server.

A session is `jaxseg.interaction.session`'s; here it gets a name, a lock and a file. The file holds
the scan's name and all steps, from which a server that was started again makes the same answers,
to the bit.
"""

import collections
import contextlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxseg import files
from jaxseg.interaction import record, session
from jaxseg.interaction.places import kind_of
from jaxseg.runs import interactive
from jaxseg.serve import models
from jaxseg.serve.guard import Refusal
from jaxseg.serve.models import Model
from jaxseg.serve.scans import Scans

# sessions that stay in memory, with their logits; others are played again when they are asked for
_KEPT = 4
_DAY = 86400  # seconds
_NAME = re.compile(r"[A-Za-z0-9_-]{16}")
_ADVICE = "remove the file; the session in it is lost"
_FIELDS = {
  "scan": str,
  "model": str,
  "changes": int,
  "since": (int, float),
  "undone": int,
  "record": (dict, type(None)),
}


class Annotation:
  """One user's work on one scan. Every change is made under `lock`, and is on disk when it ends."""

  def __init__(self, name: str, scan: str, model: Model, since: float):
    self.name, self.scan, self.model, self.since = name, scan, model, since
    self.lock = threading.RLock()
    self.changes = 0
    # of a run that takes prompts
    self.subject: session.Scan | None = None
    self.state: session.State | None = None
    # of one that does not: (*space) stored values
    self.fixed: np.ndarray | None = None
    # of the scan as it was read
    self.identity: dict[str, Any] = {}
    # what a user should know of it, a sentence; "" for nothing
    self.note = ""
    self.seconds = 0.0
    self._index: tuple[int, np.ndarray] | None = None

  def stored(self) -> np.ndarray:
    """(*space) int32 values of `legend`, on the scan's own grid."""
    return self.fixed if self.state is None else session.labels(self.subject, self.state)

  def legend(self) -> dict[str, int]:
    """What can be marked: name -> value in the label file, without the background."""
    if self.state is None:
      labels = self.model.labels
      return dict(zip(labels.scored, labels.written[labels.first :], strict=True))
    background, *_ = self.subject.names
    told = session.legend(self.subject, self.state)
    return {name: value for name, value in told.items() if name != background}

  def index(self) -> np.ndarray:
    """(*space) uint8: position in the legend from 1, 0 the background; not to be written to."""
    known, changes = self._index, self.changes
    if known is not None and known[0] == changes:
      return known[1]
    stored = self.stored()
    out = np.zeros(stored.shape, np.uint8)
    for place, value in enumerate(self.legend().values(), start=1):
      out[stored == value] = place
    self._index = changes, out
    return out


class Annotations:
  """All sessions of a server."""

  def __init__(self, scans: Scans, served: Mapping[str, Model]):
    self._scans, self._models = scans, served
    self._folder = scans.home / "sessions"
    self._lock = threading.RLock()
    self._open: collections.OrderedDict[str, Annotation] = collections.OrderedDict()
    # session -> its scan, and when it was changed last
    self._known: dict[str, tuple[str, float]] = {}
    for path in sorted(self._folder.glob("*.json")):
      self._known[path.stem] = _read(path)["scan"], path.stat().st_mtime

  def begin(self, scan: str, model: str) -> Annotation:
    """A session with the automatic segmentation of a run; it is the caller's alone."""
    known = models.get(self._models, model)
    name = self._scans.get(scan).name
    made = Annotation(secrets.token_urlsafe(12), name, known, time.time())
    self._load(made, None)
    self._keep(made)
    self.save(made)
    if made.subject is not None:
      threading.Thread(target=_warm, args=(made,), daemon=True).start()
    return made

  def _load(self, made: Annotation, told: Mapping[str, Any] | None) -> None:
    """Begins a session, or plays one that is told again."""
    raw, model = self._scans.image(made.scan), made.model
    made.identity = self._scans.identity(made.scan)
    # of a run that took no prompts there is none
    said = None if told is None else told["record"]
    if said is not None:
      # under the same name there may be another scan by now
      record.check_scan(said, made.identity, where := f"session {made.name}", f"'{made.scan}'")
      _check_options(told.get("options", {}), model.options, where)
      _check_answers(said, model, where)
    if told is not None and tuple(told.get("weights", model.weights)) != model.weights:
      made.note = (
        f"The run '{model.name}' has other weights than when this session was last changed: what "
        "is shown is its answer now."
      )
    if model.run is None:
      made.fixed, made.seconds = models.segment_scan(model, raw, made.scan)
      return
    with model.lock:
      made.subject = model.run.scan(raw, made.scan)
      if said is None:
        made.state = session.start(made.subject)
      else:
        *_, made.state = record.replay(made.subject, said, raw.geometry, made.name)
        if told["undone"]:
          made.state = session.undo(made.state, told["undone"])
    made.seconds = _seconds(made.state)

  def get(self, name: str) -> Annotation:
    """The session of that name, from its file if need be; Refusal (404) where there is none.

    Refusal (409) where the files of its scan were changed.
    """
    with self._lock:
      known = self._open.get(name)
      if known is not None:
        self._open.move_to_end(name)
    if known is not None:
      self._scans.check_same(known.scan, known.identity)
      return known
    path = self._folder / f"{name}.json"
    if not _NAME.fullmatch(name) or not path.is_file():
      raise Refusal(404, "there is no such session; open the scan again.")
    told = _read(path)
    made = Annotation(name, told["scan"], models.get(self._models, told["model"]), told["since"])
    self._load(made, told)
    made.changes = told["changes"]
    with self._lock:
      return self._keep(made)

  def _keep(self, made: Annotation) -> Annotation:
    """The one that all share: another thread may have read the same file."""
    with self._lock:
      kept = self._open.setdefault(made.name, made)
      while len(self._open) > _KEPT:
        self._open.popitem(last=False)
    return kept

  def save(self, one: Annotation) -> None:
    """Writes a session, so that a server that is started again has it."""
    self._folder.mkdir(exist_ok=True)
    told, undone = None, 0
    if one.state is not None:
      # what was undone can be redone then, too
      undone = len(one.state.steps) - one.state.at
      whole = session.redo(one.state, undone) if undone else one.state
      told = record.record(whole, one.identity, fine_tuning=one.model.run.fine_tuning)
    content = {
      "scan": one.scan,
      "model": one.model.name,
      "options": dict(one.model.options),
      "weights": list(one.model.weights),
      "changes": one.changes,
      "since": one.since,
      "undone": undone,
      "record": told,
    }
    files.write_json(self._folder / f"{one.name}.json", content)
    with self._lock:
      self._known[one.name] = one.scan, time.time()

  def change(
    self,
    one: Annotation,
    seen: int | None,
    step: Callable[[session.Scan, session.State], session.State],
  ) -> None:
    """Makes a step and writes it. Refusal (409) for a client that has not seen the last one.

    A step that raises leaves the session as it was.
    """
    with one.lock:
      if seen is not None and seen != one.changes:
        raise Refusal(
          409, "this session was changed in another window; its newest state is shown now."
        )
      with self._lock:
        if self._open.setdefault(one.name, one) is not one:
          raise Refusal(409, "this session was read again meanwhile; its newest state is shown.")
      self._check_newest(one)
      if one.state is None:
        raise ValueError(
          f"the run '{one.model.name}' takes no prompts: it only segments automatically; choose "
          "another model."
        )
      with one.model.lock:
        made = step(one.subject, one.state)
      before, one.state, one.seconds = one.state, made, _seconds(made)
      one.changes += 1
      try:
        self.save(one)
      except BaseException:
        one.state, one.changes = before, one.changes - 1
        raise

  def _check_newest(self, one: Annotation) -> None:
    """Refusal (409) where another server on this folder changed a session; it is read again."""
    path = self._folder / f"{one.name}.json"
    if path.is_file() and _read(path)["changes"] != one.changes:
      with self._lock:
        self._open.pop(one.name, None)
      raise Refusal(
        409, "this session was changed through another server; its newest state is shown now."
      )

  def forget(self, scan: str) -> None:
    """Removes the sessions of a scan that is removed: another one may get its name."""
    with self._lock:
      for name in [name for name, (of, _) in self._known.items() if of == scan]:
        del self._known[name]
        self._open.pop(name, None)
        (self._folder / f"{name}.json").unlink(missing_ok=True)

  def others(self, one: Annotation) -> int:
    """How many further sessions there are on the same scan that were changed within a day."""
    now = time.time()
    with self._lock:
      return sum(
        name != one.name and scan == one.scan and now - changed < _DAY
        for name, (scan, changed) in self._known.items()
      )


def _read(path) -> dict[str, Any]:
  return files.read_json(path, what="a session of jaxseg serve", advice=_ADVICE, fields=_FIELDS)


def _check_options(then: Mapping[str, Any], own: Mapping[str, Any], where: str) -> None:
  """Raises ValueError where a server of other options would answer a session's prompts."""
  for name, now in own.items():
    if (before := then.get(name, now)) != now:
      raise ValueError(
        f"{where}: its prompts were answered by a server with --{name} {before}, and this one was "
        f"started with --{name} {now}; start it as that one, or open the scan again."
      )


def _check_answers(said: Mapping[str, Any], model: Model, where: str) -> None:
  """Raises ValueError where the run would answer a session's prompts otherwise, or not at all."""
  then = said.get("fine_tuning")
  with_options = f"with {record.tuning_options(then)}" if then else "without --fine-tune"
  advice = f"start the server {with_options}, or open the scan again"
  if model.run is None and then is None:
    raise ValueError(
      f"{where}: has prompts, but the run '{model.name}' takes none now; serve the run that it was "
      "made with, or open the scan again."
    )
  own = None if model.run is None else model.run.fine_tuning
  record.check_tuned(said, own, where, advice)


def _warm(one: Annotation) -> None:
  """Compiles what a first click needs, while the user looks at the scan."""
  scan = one.subject
  middle = [size // 2 for size in scan.own_space]
  of = {"point": middle, "box": [middle, middle], "stroke": [middle]}
  prompt = {"class": scan.values[-1], scan.kinds[0]: of[scan.kinds[0]]}
  # the middle may be cut away before the network sees it; the first click then takes longer
  with one.model.lock, contextlib.suppress(ValueError):
    interactive.warm(scan, [prompt])


def _seconds(state: session.State) -> float:
  return state.steps[state.at - 1].seconds if state.at else state.seconds


def description(one: Annotation) -> dict[str, Any]:
  """A session as the page shows it."""
  index, state = one.index(), one.state
  counts = np.bincount(index.ravel(), minlength=len(one.legend()) + 1)
  labels = [
    {"name": name, "value": value, "voxels": int(counts[place])}
    for place, (name, value) in enumerate(one.legend().items(), start=1)
  ]
  content = {
    "session": one.name,
    "scan": one.scan,
    "model": one.model.name,
    "changes": one.changes,
    "seconds": one.seconds,
    "labels": labels,
    "interactive": state is not None,
    "note": one.note,
  }
  if state is None:
    return content
  scan = one.subject
  return content | {
    "kinds": list(scan.kinds),
    "background": scan.names[0],
    "classes": list(scan.names[1:]),
    "current": state.current,
    "objects": list(state.objects),
    "several": len(scan.names) == 2,
    "frozen": _frozen(scan, state),
    "prompts": prompts(scan, state),
    "undo": state.at,
    "redo": len(state.steps) - state.at,
  }


def _frozen(scan: session.Scan, state: session.State) -> list[str]:
  """Names of the labels that later answers leave as they are, as `legend` has them."""
  if len(state.objects) > 1:
    return [name for name, of in state.objects.items() if of.held is not None]
  held = state.objects[state.current].held
  return [] if held is None else [scan.names[k] for k in held.classes]


def prompts(scan: session.Scan, state: session.State) -> list[dict[str, Any]]:
  """The marks that count now, of all objects, for the page."""
  return [
    {
      "kind": (kind := kind_of(prompt)),
      "class": scan.names[prompt["class"]],
      "object": name,
      "positive": prompt["class"] != 0,
      "positions": np.asarray(prompt[kind]).tolist(),
    }
    for name, of in state.objects.items()
    for prompt in of.said
  ]
