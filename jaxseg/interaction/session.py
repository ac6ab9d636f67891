"""A session: a user's prompts on one scan and what was answered, as values that never change.

Every function takes a state and gives another one; the former stays as it is. What a front end
calls, `Scan` being what a run knows of a scan (`jaxseg.runs.interactive.open_run(RUN).scan(raw)`):

    state = start(scan)                                    # the automatic segmentation
    state = add(scan, state, {"class": "lesion", "point": (z, y, x)})
    state = add(scan, state, [{"class": 0, "stroke": [...]}, ...])   # several prompts, one answer
    state = undo(state); state = redo(state); state = reset(state)   # to any depth, the same bits
    state = freeze(scan, state, label="lesion")            # or region=(*space) bool of the scan
    state = thaw(scan, state)
    state = select(scan, state, "left kidney")             # another object, which begins empty
    labels(scan, state)         # (*space) int32 stored values on the scan's own grid, to be written
    legend(scan, state)         # name -> stored value
    can_undo(state), can_redo(state), state.steps[-1].seconds        # the time of the last answer
    record.record(state, record.identity(raw))  # as JSON, which `record.replay` plays again

Prompts are in the scan's own voxels, as its array has them: (z, y, x) or (y, x), the middle of the
first voxel 0; see `jaxseg.interaction.record` for the file, which may have millimetres. A class is
its name, or the value that it has in label files; the background's are the negative prompts. All
raise ValueError of one sentence for prompts that are outside of the scan, contradict others, are of
no class or of a kind that the run was not trained with; the state is as before.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.build import suggestion
from jaxseg.interaction.keeping import (
  Freeze,
  confined,
  freeze_label,
  freeze_region,
  held_back,
  thawed,
)
from jaxseg.interaction.places import check_apart, read_prompt, runs_of

# logit of what is certain: a probability of 1 in float32
SURE = 30.0
# objects of a session, which a page paints by numbers of 8 bits
MOST = 255
Region = tuple[slice, ...]
Prompt = Mapping[str, Any]


class Scan(NamedTuple):
  """What a run knows of a scan: all that a session asks.

  Attributes:
    space: of the network's grid, on which logits and placed prompts are.
    own_space: of the scan's own grid.
    names, values: of the classes, the background first, and the values that they are written as.
    radius: within which of a click, in voxels of the network's grid, no answer goes against it.
    kinds: of prompts that the run was trained with, of `encoding.KINDS`.
    automatic: () -> (*space, classes) float32 logits without any prompt.
    place: (prompt of `read_prompt`, what messages call it) -> the same on the network's grid.
    answer: (turns of placed prompts, logits before or None) -> the part of the scan that is
      answered, and its logits.
    on_network: (*own_space) bool -> (*space) bool.
    decode: (*space, classes) logits -> (*own_space) int32 classes.
  """

  space: tuple[int, ...]
  own_space: tuple[int, ...]
  names: tuple[str, ...]
  values: tuple[int, ...]
  radius: float
  kinds: tuple[str, ...]
  automatic: Callable[[], np.ndarray]
  place: Callable[[Prompt, str], Prompt]
  answer: Callable[[Sequence[Sequence[Prompt]], np.ndarray | None], tuple[Region, np.ndarray]]
  on_network: Callable[[np.ndarray], np.ndarray]
  decode: Callable[[np.ndarray], np.ndarray]


class Object(NamedTuple):
  """What was said of one object.

  Attributes:
    said: all prompts on the scan's own grid.
    turns: the same on the network's grid, those together that were answered together.
    fresh: whether nothing was predicted yet, so that a network is shown no segmentation before.
    held: what later answers leave as it is.
  """

  said: tuple[Prompt, ...] = ()
  turns: tuple[tuple[Prompt, ...], ...] = ()
  fresh: bool = True
  held: Freeze | None = None


class Step(NamedTuple):
  """What a user did, and what it changed: enough to undo and to redo it to the bit.

  Attributes:
    what: as in a file of prompts.
    target: the object whose logits it changed.
    region: where; None if nowhere.
    old, new: the logits there.
    before, after: the object that was worked on, and all objects.
    seconds: that the answer took.
  """

  what: dict[str, Any]
  target: str
  region: Region | None
  old: np.ndarray | None
  new: np.ndarray | None
  before: tuple[str, Mapping[str, Object]]
  after: tuple[str, Mapping[str, Object]]
  seconds: float = 0.0


class State(NamedTuple):
  """A session at one moment.

  Attributes:
    current: the object that is worked on.
    objects: by name, in the order in which they began: of two that claim a voxel the first has it.
    logits: object -> (*space, classes) float32; not to be written to.
    steps: all that was done, and what was undone since the last new step.
    at: how many of them count.
    began: whether the first object began with the automatic segmentation.
    seconds: that this took.
  """

  current: str
  objects: Mapping[str, Object]
  logits: Mapping[str, np.ndarray]
  steps: tuple[Step, ...] = ()
  at: int = 0
  began: bool = True
  seconds: float = 0.0


def start(scan: Scan, *, automatic: bool = True, name: str = "object 1") -> State:
  """A session without prompts: the automatic segmentation, or background everywhere."""
  began = time.perf_counter()
  logits = (
    _logits(scan.automatic(), scan.space) if automatic else empty(scan.space, len(scan.names))
  )
  spent = time.perf_counter() - began
  return State(
    name, {name: Object(fresh=not automatic)}, {name: logits}, began=automatic, seconds=spent
  )


def empty(space: Sequence[int], classes: int) -> np.ndarray:
  """Logits of nothing but background, (*space, classes) float32."""
  logits = np.full((*space, classes), -SURE, np.float32)
  logits[..., 0] = SURE
  return logits


def add(scan: Scan, state: State, prompts: Prompt | Sequence[Prompt]) -> State:
  """The state after one more turn: some prompts, one answer.

  Within `scan.radius` of a click, and under a stroke, no score of another class gains on that of
  the class that was marked: a click of the background makes the foreground nowhere larger there.
  What is frozen stays to the bit.
  """
  several = [prompts] if isinstance(prompts, Mapping) else list(prompts)
  known = state.objects[state.current]
  read = read_prompts(scan, several)
  said = (*known.said, *read.values())
  check_apart(said)
  turn = tuple(scan.place(prompt, name) for name, prompt in read.items())
  turns = (*known.turns, turn)
  before = state.logits[state.current]
  began = time.perf_counter()
  region, answered = scan.answer(turns, None if known.fresh else before)
  old = before[region]
  answered = _logits(answered, old.shape[:-1])
  corner = np.array([span.start for span in region])
  answered = confined(old, answered, turn, corner, radius=scan.radius)
  answered = held_back(old, answered, known.held, region)
  spent = time.perf_counter() - began
  made = known._replace(said=said, turns=turns, fresh=False)
  what = {"prompts": [dict(prompt) for prompt in several]}
  return _next(state, what, made, (region, old.copy(), answered), spent)


def read_prompts(scan: Scan, prompts: Sequence[Prompt]) -> dict[str, dict[str, Any]]:
  """What messages call each prompt of a turn -> it as `read_prompt` gives it; ValueError in words.

  Nothing is answered: a file of prompts is read so before its first step.
  """
  if not prompts:
    raise ValueError("prompts: there are none; expected one or more.")
  names = ["prompt"] if len(prompts) == 1 else [f"prompts[{i}]" for i in range(len(prompts))]
  own = functools.partial(class_of, scan)
  return {
    name: read_prompt(prompt, scan.own_space, own, scan.kinds, name)
    for name, prompt in zip(names, prompts, strict=True)
  }


def _logits(values, space) -> np.ndarray:
  values = np.asarray(values, np.float32)
  if values.shape[:-1] != tuple(space):
    raise ValueError(f"session: logits of shape {values.shape}; expected {tuple(space)}, classes.")
  return values


def _next(state: State, what, made: Object, change=None, seconds: float = 0.0) -> State:
  """The state after a step that made something else of the current object."""
  objects = {**state.objects, state.current: made}
  region, old, new = change or (None, None, None)
  before, after = (state.current, state.objects), (state.current, objects)
  step = Step(what, state.current, region, old, new, before, after, seconds)
  return redo(state._replace(steps=(*state.steps[: state.at], step)))


def _put(logits, target: str, region: Region | None, values):
  """The logits with other values in a part of an object's."""
  if region is None:
    return logits
  changed = logits[target].copy()
  changed[region] = values
  return {**logits, target: changed}


def can_undo(state: State) -> bool:
  return state.at > 0


def can_redo(state: State) -> bool:
  return state.at < len(state.steps)


def undo(state: State, count: int = 1) -> State:
  """The state before the last `count` steps, to the bit; raises ValueError if there are fewer."""
  _check_count(count, state.at, "undo")
  for step in reversed(state.steps[state.at - count : state.at]):
    logits = _put(state.logits, step.target, step.region, step.old)
    current, objects = step.before
    kept = {name: logits[name] for name in objects}
    state = state._replace(current=current, objects=objects, logits=kept, at=state.at - 1)
  return state


def redo(state: State, count: int = 1) -> State:
  """The state with `count` steps more that were undone; raises ValueError if there are fewer."""
  _check_count(count, len(state.steps) - state.at, "redo")
  for step in state.steps[state.at : state.at + count]:
    current, objects = step.after
    logits = state.logits
    if step.target not in logits:
      logits = {**logits, step.target: step.new}
    else:
      logits = _put(logits, step.target, step.region, step.new)
    state = state._replace(current=current, objects=objects, logits=logits, at=state.at + 1)
  return state


def _check_count(count: int, there: int, what: str) -> None:
  if isinstance(count, bool) or not isinstance(count, int) or count < 1:
    raise ValueError(f"{what}: {count!r}; expected a whole number of steps from 1.")
  if count > there:
    left = f"only {there}" if there else "none"
    raise ValueError(f"{what}: {count} step(s), but there is {left} to {what}.")


def reset(state: State) -> State:
  """The state without any step, as the session began; all of them can be redone."""
  return undo(state, state.at) if state.at else state


def freeze(
  scan: Scan, state: State, *, label: str | int | None = None, region: np.ndarray | None = None
) -> State:
  """Later answers leave a label, or a region of the scan, of the current object as it is.

  Of a label: its voxels keep it, and no other voxel gets it. Of a region, (*own_space) bool: all
  of its voxels keep what they are.
  """
  if (label is None) == (region is None):
    raise ValueError("freeze: expected a label or a region, one of them.")
  known, logits = state.objects[state.current], state.logits[state.current]
  own = scan.decode(logits)
  if known.held is not None:
    own = known.held.kept(own)
  if label is not None:
    index = class_of(scan, label, "freeze")
    held = freeze_label(known.held, index, logits, own)
    if not (own == index).any():
      raise ValueError(
        f"freeze: no voxel is '{scan.names[index]}' yet; expected a label that is there, or a "
        "region."
      )
    what: dict[str, Any] = {"freeze": scan.names[index]}
  else:
    region = np.asarray(region)
    if region.shape != scan.own_space or not region.any():
      raise ValueError(
        f"freeze: a region of shape {region.shape} with {np.count_nonzero(region)} voxels; "
        f"expected {scan.own_space}, the scan's, with some."
      )
    held = freeze_region(known.held, scan.on_network(region != 0), region != 0, own)
    what = {"freeze_region": runs_of(region)}
  return _next(state, what, known._replace(held=held))


def thaw(scan: Scan, state: State, label: str | int | None = None) -> State:
  """Nothing of the current object is frozen any more, or nothing of a label that was."""
  known = state.objects[state.current]
  if known.held is None:
    raise ValueError("thaw: nothing is frozen.")
  if label is None:
    return _next(state, {"thaw": True}, known._replace(held=None))
  index = class_of(scan, label, "thaw")
  if index not in known.held.classes:
    frozen = ", ".join(scan.names[k] for k in known.held.classes) or "a region alone"
    raise ValueError(f"thaw: '{scan.names[index]}' is not frozen; what is: {frozen}.")
  held = thawed(known.held, index, state.logits[state.current])
  return _next(state, {"thaw": scan.names[index]}, known._replace(held=held))


def select(scan: Scan, state: State, name: str) -> State:
  """Goes to an object; a new one begins empty. Voxels that two claim are those of the earlier one.

  Raises ValueError for a second object of a run that tells several classes apart.
  """
  if not isinstance(name, str) or not name.strip():
    raise ValueError(f"object: {name!r}; expected a name.")
  if name == scan.names[0]:
    raise ValueError(f"object '{name}': is what the background is called; give another name.")
  what, before = {"object": name}, (state.current, state.objects)
  if name in state.objects:
    step = Step(what, name, None, None, None, before, (name, state.objects))
  else:
    if len(scan.names) > 2:
      raise ValueError(
        f"object '{name}': the run tells {', '.join(scan.names[1:])} apart, and its prompts name "
        "their class; several objects are of runs with one class."
      )
    if len(state.objects) == MOST:
      raise ValueError(
        f"object '{name}': there are {MOST} already, which is the most; begin another session."
      )
    objects = {**state.objects, name: Object()}
    whole = tuple(slice(0, n) for n in scan.space)
    step = Step(
      what, name, whole, None, empty(scan.space, len(scan.names)), before, (name, objects)
    )
  return redo(state._replace(steps=(*state.steps[: state.at], step)))


def class_of(scan: Scan, label: Any, where: str) -> int:
  """The index of a class that is told by name or by stored value."""
  if isinstance(label, str) and label in scan.names:
    return scan.names.index(label)
  if isinstance(label, int) and not isinstance(label, bool) and label in scan.values:
    return scan.values.index(label)
  listed = ", ".join(f"{n} ({v})" for n, v in zip(scan.names, scan.values, strict=True))
  raise ValueError(
    f"{where}: no class {label!r}{suggestion(str(label), scan.names)}; choices: {listed}."
  )


def classes(scan: Scan, state: State, name: str | None = None) -> np.ndarray:
  """(*own_space) int32 classes of one object, the current one if None; what is frozen as it was."""
  name = state.current if name is None else name
  made, held = scan.decode(state.logits[name]), state.objects[name].held
  return made if held is None else held.kept(made)


def legend(scan: Scan, state: State) -> dict[str, int]:
  """Name -> the value that `labels` writes: of the classes, or of the objects if there are more."""
  if len(state.objects) == 1:
    return dict(zip(scan.names, scan.values, strict=True))
  return {scan.names[0]: 0} | {name: i for i, name in enumerate(state.objects, start=1)}


def labels(scan: Scan, state: State) -> np.ndarray:
  """(*own_space) int32: the values of `legend`."""
  if len(state.objects) == 1:
    return np.asarray(scan.values, np.int32)[classes(scan, state)]
  out = np.zeros(scan.own_space, np.int32)
  for number, name in enumerate(state.objects, start=1):
    out[(out == 0) & (classes(scan, state, name) > 0)] = number
  return out
