"""Weights that come from another run or a file: what is taken, what is left, and the table of it.

All of it is told by shapes, before data are read; the weights are loaded once a state is there.
"""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg import paths
from jaxseg.build import suggestion
from jaxseg.config import roles as config_roles
from jaxseg.config.weights import Weights, weights
from jaxseg.fine_tuning import anchored, has_anchors
from jaxseg.interop import FORMATS, packages
from jaxseg.method import Learner, State
from jaxseg.methods.averaged import SUFFIX
from jaxseg.runs import checkpoint, weights_fit
from jaxseg.runs import folder as run_folder
from jaxseg.runs.kernels import adapt, check_inflation, inflated

NETWORK = "network"
CLASSES, INPUTS = "classes", "input channels"
# the steps that a network's schedules count are a run's own
_OWN = ("counts",)


class Start(NamedTuple):
  """Where a learner's weights come from, and which of its arrays may have another shape there.

  Attributes:
    weights: the source.
    axes: path -> (CLASSES or INPUTS, the axis whose length is their number, of how many voxels).
    members: of an ensemble, whose learners are stacked: all start alike.
    followers: further learners that start as this one (`methods.FOLLOWERS`).
  """

  weights: Weights
  axes: Mapping[str, tuple[str, int, int]] = {}
  members: int = 1
  followers: tuple[str, ...] = ()


class Row(NamedTuple):
  """What becomes of one array: taken from `source`, reshaped, or left as initialised (None)."""

  path: str
  source: str | None
  why: str = ""


class Source(NamedTuple):
  """Weights by path, and where they are from in words.

  Attributes:
    inside, spare: as `interop.Format`'s.
    whole: everything but what is spare must find its place: a deeper network's weights would
      otherwise go into a shallow one.
  """

  arrays: Mapping[str, np.ndarray]
  words: str
  inside: str = ""
  spare: tuple[str, ...] = ()
  whole: bool = False


def plan(
  specs: Mapping[str, Any],
  learners: Mapping[str, Learner],
  vary: Callable[[], Mapping[str, Mapping[str, Learner]]],
  *,
  members: int = 1,
  begun: bool = False,
) -> dict[str, Start]:
  """config.initialise, tried on the shapes of learners.

  Args:
    specs: learner -> what the config has.
    learners: the shapes of this run's.
    vary: () -> {CLASSES: their shapes with one class more, INPUTS: with one input channel more};
      called if a shape is another. A network that takes no other number leaves that out.
    members: of an ensemble, whose learners are stacked.
    begun: a checkpoint has what came over: a source that is gone is not tried.

  Raises:
    FileNotFoundError: no such run, checkpoint or file.
    ValueError: no such learner, weights that don't fit, a pattern that names nothing, an optimiser
      that draws to initial weights where there are none (L2-SP).
  """
  starts, vary = {}, functools.cache(vary)
  for name, spec in specs.items():
    where = f"config.initialise.{name}"
    if name not in learners:
      raise ValueError(
        f"{where}: the method has no such learner{suggestion(name, learners)}; it has "
        f"{', '.join(learners)}."
      )
    given = weights(spec, where)
    try:
      source, own = _read(given, where), _shapes(learners[name], members)
    except FileNotFoundError:
      if not begun:
        raise
      starts[name] = Start(given, members=members)
      continue
    try:
      _rows(own, source, Start(given), where)
      starts[name] = Start(given, members=members)
    except ValueError:
      # the ordinary cases may explain it
      varied = {kind: _shapes(of[name], members) for kind, of in vary().items()}
      starts[name] = Start(given, _axes(own, varied), members)
      _rows(own, source, starts[name], where)
  for name, learner in learners.items():
    if name not in starts and has_anchors(learner.opt_state):
      raise ValueError(
        f"config.initialise.{name}: is missing, but the optimiser of '{name}' draws weights to "
        "those that they start from (l2_sp); expected weights of a run or a file, or l2_sp=0."
      )
  return starts


def _axes(own: Mapping[str, tuple], varied: Mapping[str, Mapping]) -> dict[str, tuple]:
  """`Start.axes`, from a network's shapes and those with other numbers of classes or inputs.

  Left out is what other things than these make longer, too: a critic's inputs, which are classes
  and channels, or an image beside features.
  """
  axes: dict[str, list] = {}
  for kind, shapes in varied.items():
    for path, shape in own.items():
      axis = _differing(shape, shapes.get(path, ()))
      if axis is not None:
        axes.setdefault(path, []).append((kind, axis, shapes[path][axis] - shape[axis]))
  alone = {path: of[0] for path, of in axes.items() if len(of) == 1}
  numbers = {
    path: own[path][axis] / voxels for path, (kind, axis, voxels) in alone.items() if kind == INPUTS
  }
  # the first layer has nothing else
  channels = min(numbers.values(), default=0)
  return {path: of for path, of in alone.items() if numbers.get(path, channels) == channels}


def initialised(state: State, starts: Mapping[str, Start]) -> tuple[State, list[str]]:
  """A state with the weights that come from elsewhere, and the tables of what was taken.

  Optimisers start anew, and know these weights where they draw to them (L2-SP). The average of a
  learner and its followers start where it does. Each process reads for itself.
  """
  learners, tables = dict(state.learners), []
  for name, start in starts.items():
    where = f"config.initialise.{name}"
    source = _read(start.weights, where)
    rows = _rows(_shapes(learners[name], start.members), source, start, where)
    tables.append(_table(rows, source, where))
    for of in (name, f"{name}{SUFFIX}", *start.followers):
      if of == name or (of in learners and of not in starts):
        learners[of] = _filled(learners[of], rows, source, start)
  return state.replace(learners=learners), tables


def _filled(own: Learner, rows: Sequence[Row], source: Source, start: Start) -> Learner:
  taken = {row.path: source.arrays[row.source] for row in rows if row.source is not None}

  def placed(path, leaf):
    values = np.asarray(taken[path])
    stacked = (start.members,) if start.members > 1 else ()
    own = leaf.shape[len(stacked) :]
    if values.ndim == len(own) - 1:
      values = inflated(values, own[0], start.weights.inflate)
    if values.shape != own:
      voxels = start.axes[path][2]
      values = adapt(values, own[-2] // voxels, start.weights.inputs, places=voxels)
    values = np.broadcast_to(values, (*stacked, *values.shape))
    # where the leaf lies: split or on every device
    return jax.device_put(values.astype(leaf.dtype), getattr(leaf, "sharding", None))

  def fill(keys, leaf):
    path = paths.of_leaf(keys)
    return placed(path, leaf) if path in taken else leaf

  params = jax.tree_util.tree_map_with_path(fill, own.params)
  stats = {
    kind: tree if kind in _OWN else jax.tree_util.tree_map_with_path(fill, tree)
    for kind, tree in own.stats.items()
  }
  opt_state = anchored(own.opt_state, placed, taken)
  return own.replace(params=params, stats=stats, opt_state=opt_state)


def _trees(learner: Learner) -> Iterator[Mapping[str, Any]]:
  yield learner.params
  yield from (tree for kind, tree in learner.stats.items() if kind not in _OWN)


def _leaves(learner: Learner) -> dict[str, Any]:
  """Path -> array, of parameters and statistics."""
  return paths.flatten(paths.merge(*_trees(learner)))


def _shapes(learner: Learner, members: int = 1) -> dict[str, tuple[int, ...]]:
  """Path -> shape, of one of the members."""
  return {path: tuple(leaf.shape[members > 1 :]) for path, leaf in _leaves(learner).items()}


def _differing(a: Sequence[int], b: Sequence[int]) -> int | None:
  """The one axis on which two shapes differ, None for none or several."""
  if len(a) != len(b):
    return None
  axes = [axis for axis, sizes in enumerate(zip(a, b, strict=True)) if sizes[0] != sizes[1]]
  return axes[0] if len(axes) == 1 else None


def _read(source: Weights, where: str) -> Source:
  with _told(where):
    if source.file or source.package:
      return _of_file(source)
    if not source.runs:
      return _of_run(source.run, source.learner)
    return _stacked([_of_run(run, source.learner) for run in source.runs])


def _of_file(source: Weights) -> Source:
  file, name = source.file, source.format
  if source.package:
    file, name = packages.file_of(source.package), packages.PACKAGES[source.package].format
  form = FORMATS[name]
  words = f"{source.package or source.file} ({name})"
  return Source(form.read(file), words, form.inside, form.spare, whole=True)


def _of_run(run: str, learner: str) -> Source:
  folder = pathlib.Path(run)
  if not folder.is_dir():
    raise FileNotFoundError(f"{run}: there is no such folder.")
  if not run_folder.steps_done(folder):
    raise FileNotFoundError(
      f"{run}: holds no checkpoint; expected the folder of a run (train.py's --workdir; of a "
      "cross-validation, that of a fold)."
    )
  predicting = NETWORK
  if (folder / run_folder.CONFIG).is_file():
    config = run_folder.read_config(folder)
    if config["members"] > 1:
      raise ValueError(
        f"{run}: has {config['members']} networks, its config.members; expected a run of one."
      )
    predicting = config_roles.predicting(config)
  learners = checkpoint.load_learners(folder)
  average = f"{predicting}{SUFFIX}"
  name = learner or (average if average in learners else predicting)
  if name not in learners:
    raise ValueError(
      f"{run}: has no learner '{name}'{suggestion(name, learners)}; it holds "
      f"{', '.join(sorted(learners))}."
    )
  return Source(_leaves(learners[name]), f"{run} (learner {name})")


def _stacked(sources: Sequence[Source]) -> Source:
  """Weights of several networks of one kind, on a leading axis."""
  first = sources[0]
  shapes = [{path: np.shape(of) for path, of in source.arrays.items()} for source in sources]
  for source, own in zip(sources, shapes, strict=True):
    if own != shapes[0]:
      differing = sorted({*own.items()} ^ {*shapes[0].items()})[0][0]
      raise ValueError(
        f"{source.words}: its '{differing}' is not as in {first.words}; expected runs of one "
        "network."
      )
  stacked = {path: np.stack([of.arrays[path] for of in sources]) for path in first.arrays}
  return Source(stacked, f"{len(sources)} runs, {first.words} first")


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
  try:
    yield
  except (FileNotFoundError, ValueError) as error:
    raise type(error)(f"{where}: {error}") from error


def _rows(own: Mapping[str, tuple], source: Source, start: Start, where: str) -> list[Row]:
  """What becomes of every array of a learner; raises ValueError for weights that don't fit."""
  take = start.weights.take or weights_fit.default(source.inside, own, source.words, where)
  paths.check(take, own, f"{where}.take")
  paths.check_apart(take, own, f"{where}.take")
  rows, missing, others, used, seen = [], [], [], set(), set()
  for path, shape in own.items():
    pattern = paths.match(path, take)
    if pattern is None or take[pattern] is None:
      why = "take leaves it out" if start.weights.take else "the source has none"
      rows.append(Row(path, None, why))
      continue
    there = paths.rename(path, pattern, take[pattern])
    kind, axis, voxels = start.axes.get(path, ("", None, 1))
    if there not in source.arrays:
      rows.append(Row(path, None, "the source has none"))
      # heads of deep supervision come and go
      missing += [path] if kind != CLASSES else []
      continue
    used.add(pattern)
    seen.add(there)
    theirs, how = tuple(source.arrays[there].shape), ""
    if len(theirs) == len(shape) - 1 == 4 and start.weights.inflate:
      how = f"inflate='{start.weights.inflate}'"
      check_inflation(theirs, shape, start.weights.inflate, f"{where}: '{path}'")
      theirs = (shape[0], *theirs)
    if theirs == shape:
      rows.append(Row(path, there, how))
    elif axis is None or _differing(shape, theirs) != axis:
      others.append((path, shape, there, theirs))
    elif kind == CLASSES:
      rows.append(Row(path, None, _numbers("class(es)", theirs[axis], shape[axis])))
    elif axis == len(shape) - 2 and theirs[axis] % voxels == 0:
      numbers = _numbers("input channel(s)", theirs[axis] // voxels, shape[axis] // voxels)
      if start.weights.inputs == "zero" and theirs[axis] > shape[axis]:
        raise ValueError(
          f"{where}.inputs: 'zero', but {numbers}; expected 'mean' or 'cycle', 'zero' is for "
          "channels that the source lacks."
        )
      words = f"{numbers}, inputs='{start.weights.inputs}'"
      rows.append(Row(path, there, f"{words}, {how}" if how else words))
    else:
      others.append((path, shape, there, theirs))
  weights_fit.check(others, missing if not start.weights.take else [], source, where)
  if source.whole and not start.weights.take:
    # a head of other classes has its place, though it is made anew
    weights_fit.check_whole([path for path in source.arrays if path not in seen], source, where)
  if start.weights.inflate and not any("inflate=" in row.why for row in rows):
    raise ValueError(
      f"{where}.inflate: '{start.weights.inflate}', but no kernel of images goes into one of "
      "volumes; leave it out."
    )
  for pattern, target in take.items():
    if target is not None and pattern not in used:
      raise ValueError(
        f"{where}.take['{pattern}']: '{target}' names nothing in {source.words}"
        f"{suggestion(target, source.arrays)}; there are {weights_fit.tops(source.arrays)}."
      )
  if all(row.source is None for row in rows):
    raise ValueError(
      f"{where}: nothing is taken from {source.words}; expected a row of take for what is wanted, "
      "as '*': '*' beside rows of None."
    )
  return rows


def _numbers(of: str, there: int, here: int) -> str:
  return f"{there} {of} there, {here} here"


def _table(rows: Sequence[Row], source: Source, where: str) -> str:
  """What was taken, left and reshaped, by the network's parts; several lines."""
  groups: dict[tuple, list[Row]] = {}
  for row in rows:
    top = row.path.split("/")[0]
    theirs = "" if row.source is None else row.source.split("/")[0]
    # each array that was reshaped has its own line
    key = row.path if row.source is not None and row.why else top
    groups.setdefault((key, theirs, row.source is not None, row.why), []).append(row)
  lines = []
  for (key, theirs, taken, why), members in groups.items():
    what = "left as initialised" if not taken else "reshaped" if why else "taken"
    if taken and theirs != key.split("/")[0]:
      what += f" from {theirs}"
    number = "" if len(members) == 1 else f" ({len(members)} arrays)"
    shown = members[0].path if len(members) == 1 else key
    lines.append((f"{shown}{number}", what + (f": {why}" if why else "")))
  width = max(len(name) for name, _ in lines)
  used = {row.source for row in rows}
  left = [path for path in source.arrays if path not in used]
  taken = sum(row.source is not None for row in rows)
  text = [f"{where}: {taken} of {len(rows)} arrays from {source.words}:"]
  text += [f"  {name:<{width}}  {what}" for name, what in lines]
  if left:
    text.append(
      f"  {len(left)} of the source's {len(source.arrays)} not used: {weights_fit.tops(left)}"
    )
  return "\n".join(text)
