"""A trained run that answers prompts: what a session needs of it, on any scan."""

import functools
import math
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg import inference
from jaxseg.batch import Batch, LabelSpec
from jaxseg.build import options_of
from jaxseg.config.roles import constructor_of
from jaxseg.data import RawCase
from jaxseg.data.prepared.grids import Grid
from jaxseg.inference.boxed import boxed
from jaxseg.inference.interactive import Focus, Window
from jaxseg.inference.segmentation import prepared_case
from jaxseg.interaction import session
from jaxseg.interaction.encoding import Encoding, encoding_of, show
from jaxseg.interaction.places import SHOWN_AS, chain, filled, kind_of, positions_of, voxels_within
from jaxseg.interaction.prompts import arrays, pieces_of
from jaxseg.methods import METHODS
from jaxseg.methods.effects import STAGES
from jaxseg.runs import checkpoint
from jaxseg.runs.fine_tuned import Tune, Tuning, marks_in, tune_of
from jaxseg.runs.folder import run_folders
from jaxseg.runs.load import Model, Opened, as_model, by_configuration, mean_apply, open_runs

# the option of a method that learns from prompts
OPTION = "prompts"
# room for prompts of each kind, for which programs are compiled; more take twice as much
_ROOM = {"point": 24, "box": 4, "stroke": 256}
# of networks that are shown no prompts: these fine-tune them, and speak for their own voxels
_TUNED_BY = ("point", "stroke")
_RADIUS = 0.0
# logits this close to an empty session's were never answered: windows that are zoomed are rounded
_NEVER = 1e-3


def prompts_of(config: Mapping[str, Any]) -> Encoding | None:
  """How a config's network is shown prompts; None where its method has none."""
  option = options_of(constructor_of(config)).get(OPTION)
  if option is None:
    return None
  spec = config["method"].get(OPTION, option.default)
  return None if spec in (None, option.empty) else encoding_of(spec)


class Run(NamedTuple):
  """Runs of one configuration that answer prompts.

  Attributes:
    opened, model: as they predict.
    encoding: how their networks are shown prompts; None where these fine-tune them alone.
    apply: (batch, the runs' states if they are others) -> {"logits"}, the mean of the runs'.
    show: `interaction.show` of the encoding, compiled.
    tune: what fine-tunes them on what is marked, before each answer; None does not.
    tuning: how.
  """

  opened: Opened
  model: Model
  encoding: Encoding | None
  apply: Callable[..., Batch]
  show: Callable[..., Batch] | None
  tune: Tune | None = None
  tuning: Tuning | None = None

  @property
  def fine_tuning(self) -> dict[str, Any] | None:
    """How it is fine-tuned, as `interaction.record` tells it."""
    return None if self.tuning is None else self.tuning._asdict()

  @property
  def labels(self) -> LabelSpec:
    return self.model.described.labels

  @property
  def kinds(self) -> tuple[str, ...]:
    """The kinds of prompts that it takes, of `encoding.KINDS`."""
    return _TUNED_BY if self.encoding is None else self.encoding.kinds

  def scan(self, raw: RawCase, where: str = "the scan") -> session.Scan:
    """A scan as a session takes it; raises ValueError for what the run cannot segment."""
    return _scan(self, raw, where)


def open_run(
  paths,
  *,
  kind: str = checkpoint.LATEST,
  domain: str | None = None,
  tuning: Tuning | None = None,
) -> Run:
  """A run folder, folds of a cross-validation, or several runs of one configuration.

  Args: of `load.open_runs`; a folder of folds stands for all of them. `tuning` is of `as_run`.

  Raises what that raises, and ValueError for runs without prompts, or of several configurations.
  """
  several = [paths] if isinstance(paths, str | pathlib.Path) else list(paths)
  folders = [folder for path in several for folder in run_folders(path, seeds=True)]
  if len(by_configuration(folders)) > 1:
    raise ValueError(
      f"{', '.join(map(str, several))}: differ in network, method or data options; answer with one "
      "configuration."
    )
  return as_run(open_runs(folders, kind=kind, domain=domain), kind=kind, tuning=tuning)


def as_run(opened: Opened, *, kind: str = checkpoint.LATEST, tuning: Tuning | None = None) -> Run:
  """What `open_run` gives, of runs that were opened.

  With `tuning` each answer is that of networks that were fine-tuned on the window around what is
  new, from their trained weights by all marks in it; then networks that are shown no prompts take
  points and strokes as well, which hold for their own voxels: BIFSeg's.
  """
  told, first = opened.told[0], next(iter(opened.states))
  encoding = prompts_of(told.config)
  if encoding is None and tuning is None:
    known = [name for name, of in METHODS.items() if OPTION in options_of(of)]
    raise ValueError(
      f"{first}: was trained by the method '{told.config['method']['name']}', whose network "
      f"is shown no prompts; expected a run of {', '.join(known) or 'a method with prompts'}, or "
      "that it is fine-tuned on what is marked (interact --fine-tune 20)."
    )
  if told.config["task"]["name"] != "segmentation":
    raise ValueError(f"{first}: makes images; only segmentations are answered.")
  if told.labels.regions:
    raise ValueError(
      f"{first}: its labels are regions that overlap, and a prompt says one class of a voxel; "
      "expected a run of classes."
    )
  if opened.predict.func is boxed:
    raise ValueError(
      f"{first}: its predictor 'boxed' chooses by itself what the network sees; expected a "
      "run that predicts by windows."
    )
  _check_learned(opened, kind)
  compiled = None
  if encoding is not None:
    compiled = jax.jit(
      functools.partial(show, encoding, classes=told.labels.channels), static_argnames=("space",)
    )
  tune = None if tuning is None else tune_of(opened, tuning)
  return Run(
    opened, as_model(opened, kind=kind), encoding, mean_apply(opened), compiled, tune, tuning
  )


def _check_learned(opened: Opened, kind: str) -> None:
  """Raises ValueError for checkpoints of a first stage, in which another network learned."""
  method = opened.told[0].config["method"]
  for stage in STAGES.get(method["name"], ()):
    before = method.get(stage.option) or 0
    if stage.first or not stage.learner or not before:
      continue
    for folder in opened.states:
      step = max(checkpoint.Checkpoints(folder, kind).steps, default=before + 1)
      if step <= before:
        raise ValueError(
          f"{folder / kind}: is of step {step}, and the network that answers prompts only learns "
          f"from step {before} on (config.method.{stage.option}); train it further, or give a "
          "later checkpoint (--checkpoint latest)."
        )


def _scan(run: Run, raw: RawCase, where: str) -> session.Scan:
  case, grid = prepared_case(run.model.configuration, raw, where)
  options = run.opened.predict.keywords
  known = options_of(inference.interactive)
  options = {name: value for name, value in options.items() if name in known}
  rank, labels = len(case.space), run.labels
  patch = options["patch"]
  thin = None if isinstance(patch, int) or len(patch) == rank else options.get("axis") or 0
  if thin is not None and run.tune is not None:
    raise ValueError(
      f"{where}: is a volume, and the run segments its slices one by one: a network is fine-tuned "
      "on one image; give it slices, or leave fine-tuning out."
    )

  def answer(turns, before):
    marks = tuple(_ends(_positions(prompt), case.space) for prompt in turns[-1])
    windows, states = [], []

    def prompts(window: Window, fields: Batch, previous) -> Batch:
      windows.append(window)
      return {} if run.show is None else _shown(run, turns, window, fields, previous, thin)

    def tuned(batch: Batch) -> Batch:
      """By networks that are fine-tuned on the first window, the one with what is new in it."""
      if not states:
        states.extend(run.tune(batch, marks_in(turns, windows[-1], labels.channels)))
      return run.apply(batch, states)

    focus = Focus(
      marks,
      session.empty(case.space, labels.channels) if before is None else before,
      before is None,
      prompts,
    )
    found = []
    inference.interactive(
      run.apply if run.tune is None else tuned,
      case,
      focus=focus,
      into=lambda region, scores: found.append((region, scores)),
      **options,
    )
    region, scores = _united(found, focus.before)
    if run.tune is not None and not np.isfinite(scores).all():
      raise ValueError(
        f"{where}: fine-tuning with the rate {run.tuning.rate} left numbers that are none; "
        "expected a lower one (--fine-tune-rate)."
      )
    if run.encoding is None:
      scores = _obeyed(region, scores, turns)
    return region, scores

  return session.Scan(
    space=case.space,
    own_space=tuple(raw.geometry.shape),
    names=labels.names,
    values=labels.stored_values,
    radius=_RADIUS if run.encoding is None else run.encoding.radius,
    kinds=run.kinds,
    automatic=lambda: run.opened.predict(run.apply, case, **run.opened.flips),
    place=functools.partial(_placed, run, grid),
    answer=answer,
    on_network=grid.mask,
    decode=functools.partial(_decoded, grid, labels),
  )


def _ends(positions: np.ndarray, space) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """The first and the last voxel of a mark, of those that there are."""
  ends = (np.floor(at + 0.5).astype(int) for at in (positions.min(0), positions.max(0)))
  low, high = (tuple(np.clip(at, 0, np.array(space) - 1).tolist()) for at in ends)
  return low, high


def _united(found, before: np.ndarray):
  """One region around several that were answered, and the scores in it."""
  if len(found) == 1:
    return found[0]
  regions = [region for region, _ in found]
  whole = tuple(
    slice(min(r[a].start for r in regions), max(r[a].stop for r in regions))
    for a in range(len(regions[0]))
  )
  scores = before[whole].copy()
  for region, values in found:
    at = tuple(
      slice(r.start - w.start, r.stop - w.start) for r, w in zip(region, whole, strict=True)
    )
    scores[at] = values
  return whole, scores


def _obeyed(region: session.Region, scores, turns) -> np.ndarray:
  """(*region, k) logits, those of marked voxels sure of it: a network may learn it late."""
  scores = np.array(scores, np.float32)
  corner = [span.start for span in region]
  for prompt in (prompt for turn in turns for prompt in turn):
    inside = voxels_within(positions_of(prompt) - corner, scores.shape[:-1])
    scores[tuple(inside.T)] = -session.SURE
    scores[(*inside.T, prompt["class"])] = session.SURE
  return scores


def _positions(prompt) -> np.ndarray:
  return np.asarray(prompt[kind_of(prompt)], np.float64)


def _placed(run: Run, grid: Grid, prompt: Mapping[str, Any], where: str) -> dict[str, Any]:
  """A prompt of the scan's own grid on the network's."""
  kind = kind_of(prompt)
  of_background = SHOWN_AS[kind] == "box" and prompt["class"] == 0
  if of_background and run.encoding.boxes == "foreground":
    raise ValueError(
      f"{where}.{kind}: is of '{run.labels.names[0]}', but the run was trained with boxes of the "
      "foreground alone, and sees no others; mark that by points or strokes."
    )
  places = _positions(prompt)
  moved = grid.positions(places)
  ends = np.array(grid.shape) - 0.5
  if ((moved < -0.5) | (moved > ends)).any():
    at = tuple(places[((moved < -0.5) | (moved > ends)).any(1)][0].tolist())
    raise ValueError(
      f"{where}.{kind}: {at} lies in the empty part of the scan that is cut away before the "
      "network sees it; choose a place inside of the body."
    )
  moved = np.minimum(moved, ends - 1e-6)
  if kind == "box":
    moved = np.sort(moved, 0)
  if kind in ("voxels", "lasso"):
    whole = np.floor(places + 0.5).astype(int) if kind == "voxels" else filled(places, where)
    stored = np.zeros(grid.geometry.shape, bool)
    stored[tuple(whole.T)] = True
    moved = np.argwhere(grid.mask(stored)).astype(np.float64)
  return {"class": prompt["class"], kind: moved}


def _decoded(grid: Grid, labels: LabelSpec, logits: np.ndarray) -> np.ndarray:
  """(*space, k) logits on the network's grid -> (*own space) classes, as `segment` gives them."""
  if not grid.resamples:
    return grid.restore(labels.classes(logits), outside=0)

  def channel(k: int) -> np.ndarray:
    outside = session.SURE if k == 0 else -session.SURE
    return grid.restore(np.ascontiguousarray(logits[..., k]), outside=outside)

  return labels.encode(labels.decode(channel))[0]


def _shown(run: Run, turns, window: Window, fields: Batch, previous, thin) -> Batch:
  """The fields that show a window's prompts, (*patch, k), those of a 2D network one voxel thin."""
  rank, classes = len(window.patch), run.labels.channels
  axes = [a for a in range(rank) if a != thin]
  space = tuple(window.patch[a] for a in axes)
  made: dict[str, list] = {"point": [], "box": [], "stroke": []}
  ages: dict[str, list[int]] = {"point": [], "box": [], "stroke": []}
  drawn: dict[str, np.ndarray] = {}
  for number, turn in enumerate(turns):
    for prompt in turn:
      kind, index = kind_of(prompt), prompt["class"]
      for value in _in_window(kind, window.inside(_positions(prompt)), window.patch, thin):
        if kind in ("voxels", "lasso"):
          field = "strokes" if kind == "voxels" else "prompt_box"
          of = drawn.setdefault(field, np.zeros((*space, classes), np.float32))
          at = (*value[:, axes].T, index)
          of[at] = np.maximum(of[at], run.encoding.decay ** (len(turns) - 1 - number))
          continue
        # whole voxels, as in training: a disk of radius 0 is else nowhere on a coarser grid
        whole = np.floor(value[..., axes] + 0.5)
        made[kind].append((whole if kind != "box" else whole.astype(int), index))
        ages[kind].append(len(turns) - 1 - number)
  room = {
    kind: least * 2 ** max(0, math.ceil(math.log2(max(len(made[kind]), 1) / least)))
    for kind, least in _ROOM.items()
  }
  packed = arrays(made, len(axes), room)
  old = tuple(
    np.array(ages[kind] + [0] * (room[kind] - len(ages[kind])), np.int32) for kind in made
  )
  if previous is not None and thin is not None:
    previous = previous.squeeze(thin)
  image = fields["image"]
  image = image if thin is None else image.squeeze(thin)
  more = {} if not drawn else {"drawn": drawn}
  if run.encoding.decay < 1:
    more["ages"] = old
  shown = run.show(packed, space=space, previous=previous, image=image, **more)
  if previous is not None and run.encoding.previous == "logits":
    # where nothing was answered yet there is none, as in training: 0, not the logits of being sure
    distance = abs(np.asarray(previous) - session.empty(space, classes)).max(-1, keepdims=True)
    shown = {**shown, "previous": np.where(distance < _NEVER, 0, shown["previous"])}
  if thin is None:
    return shown
  return {name: np.expand_dims(np.asarray(x), thin) for name, x in shown.items()}


def _in_window(kind: str, places: np.ndarray, patch, thin) -> list[np.ndarray]:
  """What of a prompt is shown in a window: what lies outside is not, as in training."""
  ends = np.array(patch)
  if kind == "box":
    low = np.floor(places.min(0) + 0.5)
    high = np.maximum(np.floor(places.max(0) + 0.5) + 1, low + 1)
    low, high = np.maximum(low, 0), np.minimum(high, ends)
    return [np.stack([low, high])] if (low < high).all() else []
  inside = ((places >= -0.5) & (places < ends - 0.5)).all(1)
  if SHOWN_AS[kind] == "point":
    return list(places[inside])
  if kind in ("voxels", "lasso"):
    whole = np.floor(places[inside] + 0.5).astype(int)
    return [np.unique(whole, axis=0)] if len(whole) else []
  if thin is None:
    return [piece for piece in pieces_of(places) if _touches(piece, ends)]
  close = chain(places)
  close = close[((close >= -0.5) & (close < ends - 0.5)).all(1)]
  return [np.stack([place, place]) for place in close]


def _touches(piece: np.ndarray, ends: np.ndarray) -> bool:
  """Whether a straight piece of a stroke has a position inside."""
  along = chain(piece)
  return bool(((along >= -0.5) & (along < ends - 0.5)).all(1).any())


def warm(scan: session.Scan, prompts: Sequence[Mapping[str, Any]]) -> float:
  """Answers once for nothing, so that all is compiled; the seconds that it took."""
  began = time.perf_counter()
  session.add(scan, session.start(scan, automatic=False), prompts)
  return time.perf_counter() - began
