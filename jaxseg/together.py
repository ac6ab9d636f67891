"""Several runs of one config in one program: its folds, or seeds; what they may differ in."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from jaxseg import compose
from jaxseg.build import plain
from jaxseg.config import networks as other_runs
from jaxseg.data.sampling import Sampling
from jaxseg.experiment import Experiment, experiment
from jaxseg.runs import same_run
from jaxseg.sharding import Layout

_MAY_DIFFER = ("seed", "data.split.fold")


class Together(NamedTuple):
  """Runs that are trained in one program.

  Attributes:
    runs: the experiments, each as it were alone.
    layout: of the devices of all of them, over whose axis `member` they are spread.
  """

  runs: tuple[Experiment, ...]
  layout: Layout


def alone(config) -> Any:
  """A copy of a ConfigDict as of a run that is trained by itself: no devices for other members."""
  changed = config.copy_and_resolve_references()
  if config.mesh.member != 1:
    with changed.unlocked():
      changed.mesh.member = 1
      changed.mesh.batch = -1
  return changed


def check(config: dict[str, Any], *, folds: bool) -> None:
  """Raises ValueError in words for a config whose folds, or seeds, can't share one program."""
  if config["members"] > 1:
    raise ValueError(
      f"--together: config.members={config['members']} is an ensemble that is one run; expected 1, "
      "or leave out --together."
    )
  if jax.process_count() > 1:
    raise ValueError(
      f"--together: trains in one process, this run has {jax.process_count()}; start one process, "
      "or leave out --together and give each process group its own --fold or --seeds."
    )
  if folds and (field := _counted(config)):
    raise ValueError(
      f"--together: config.{field}.class_weights is counted from the training cases, which each "
      "fold has its own of, and one program has one loss; give the weights as numbers, or leave "
      "out --together."
    )


def _counted(config: dict[str, Any]) -> str | None:
  """The first loss whose class weights are counted, as the field that it stands in."""
  groups = {"loss": config["loss"]} | {f"losses.{key}": of for key, of in config["losses"].items()}
  for field, parts in groups.items():
    for key, spec in parts.items():
      if isinstance(spec.get("class_weights"), str | dict):
        return f"{field}.{key}"
  return None


def together(configs: Sequence, mesh: dict[str, Any], *, begun: bool = False) -> Together:
  """Builds the runs of several configs and the layout of all.

  Args:
    configs: `alone`, differing in seed and fold.
    mesh: the config's own, whose `member` the runs are spread over.
    begun: as of `experiment`, of all of them.

  Raises ValueError where the runs differ in anything else that the program is made of, and where
  the axis `member` doesn't divide them.
  """
  for config in configs:
    _check_alike(plain(configs[0]), plain(config))
  first = experiment(configs[0], begun=begun)
  layout = first.layout
  if mesh["member"] != 1:
    layout = compose.layout({**first.config, "mesh": mesh, "members": len(configs)}, first.network)
  elif note := _idle(len(configs), layout):
    layout = dataclasses.replace(layout, notes=(*layout.notes, note))
  runs = [first, *(experiment(config, like=first, begun=begun) for config in configs[1:])]
  for run in runs[1:]:
    check_same_program(first, run)
  sets = {run.main.dataset.folder for run in runs}
  if len(sets) > 1:
    note = (
      f"config.data.normalise takes numbers from the training cases: the {len(runs)} runs have "
      f"{len(sets)} prepared sets, and memory holds a case once for each of them."
    )
    layout = dataclasses.replace(layout, notes=(*layout.notes, note))
  return Together(tuple(runs), layout)


def _idle(runs: int, layout: Layout) -> str:
  """A hint where several devices could each train runs of their own."""
  count = len(jax.devices())
  width = max(n for n in range(1, count + 1) if runs % n == count % n == 0)
  if width == 1:
    return ""
  how = "is spread over all" if layout.mesh.size == count else f"uses {layout.mesh.size}"
  return (
    f"config.mesh.member=1: the {runs} runs take turns, and each of their steps {how} of "
    f"{count} devices; config.mesh.member={width} trains {width} at the same time."
  )


def _check_alike(first: dict[str, Any], other: dict[str, Any]) -> None:
  a, b = same_run.flat(first), same_run.flat(other)
  for field in dict.fromkeys([*a, *b]):
    if field not in _MAY_DIFFER and a.get(field) != b.get(field):
      raise ValueError(
        f"--together: config.{field} is {a.get(field)!r} in one run and {b.get(field)!r} in "
        "another; runs of one program differ in seed and fold alone."
      )


def check_same_program(first: Experiment, other: Experiment) -> None:
  """Raises ValueError where what follows from the cases makes another program."""
  ours, theirs = _of_program(first), _of_program(other)
  for what, value in ours.items():
    if theirs[what] != value:
      raise ValueError(
        f"--together: {what} {value} of {_named(first)} is {theirs[what]} of {_named(other)}: it "
        "follows from the training cases, and one program has one; set it in the config, or leave "
        "out --together."
      )


def _of_program(run: Experiment) -> dict[str, Any]:
  facts = {}
  for name, of in run.streams.items():
    where = f" of stream '{name}'" if name else ""
    how: Sampling = of.sampling._replace(seed=0)
    facts |= {
      f"the patch{where}": how.patch,
      f"the size to augment{where} (config.augment, by the spacing)": how.crop,
      f"the sampling{where}": how,
      f"the labels{where}": of.dataset.labels,
      f"the channels{where}": of.dataset.channels,
      f"the orientation{where} (config.data.orientation)": of.dataset.preparation.code,
    }
  facts["where weights come from"] = sorted(other_runs.starts(run.config))
  return facts


def _named(run: Experiment) -> str:
  return f"seed {run.config['seed']}, fold {(run.config['data']['split'] or {}).get('fold')}"
