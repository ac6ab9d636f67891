"""What a run folder says of itself: config, data set, versions; all that prediction needs."""

import hashlib
import importlib.metadata
import json
import pathlib
import platform
import subprocess
from typing import NamedTuple

import jax

from jaxseg import defaults, files, sealed
from jaxseg.batch import LabelSpec
from jaxseg.build import plain
from jaxseg.config.synthesis import makes_images
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.sources import places
from jaxseg.data.sources.source import natural
from jaxseg.data.splits import count
from jaxseg.runs import same_data, same_run

FOLD = "fold_"  # and a number: a fold's run folder in that of a cross-validation
SEED = "seed_"  # and a number: a run folder among those of other seeds
CONFIG, DATASET, VERSIONS = "config.json", "dataset.json", "versions.json"
PACKAGES = ("jaxseg", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_DATASET_KINDS = {"labels": dict, "channels": list, "rank": int, "preparation": dict}
_DATASET_KINDS |= {"training": list, "validation": list}
RUN, TARGETS = "run", "targets"
_LEARNT_FROM = ("seed", "method", "network", "loss", "optimiser", "augment", "average")
_ROLES = ("networks", "losses", "optimisers", "views")  # empty of a run that has none
_TASK = {"name": "segmentation"}
ADVICE = "copy the run folder again, from where it is whole"


class Described(NamedTuple):
  """What a run folder tells about its model.

  Attributes:
    config: as it was trained with.
    labels, rank: of the data set.
    channels, preparation: of what the network is given.
    targets: channel that it makes -> its normalisation; {} of networks that segment.
    domain: the number of the domain that labels and preparation are of; None where the network
      makes no difference.
  """

  config: dict
  labels: LabelSpec
  channels: tuple[str, ...]
  rank: int
  preparation: Preparation
  targets: dict[str, dict] = {}  # noqa: RUF012  (never mutated)
  domain: int | None = None


def versions() -> dict:
  """Versions, devices and the git revision of the code that runs."""
  found = {}
  for package in PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      found[package] = None
  return {
    "packages": found,
    "python": platform.python_version(),
    "platform": platform.platform(),
    "devices": [device.device_kind for device in jax.devices()],
    "git": _revision(),
  }


def _revision() -> str | None:
  here = pathlib.Path(__file__).parent

  def git(*arguments):
    return subprocess.run(
      ("git", *arguments), cwd=here, capture_output=True, text=True, check=True
    ).stdout.strip()

  try:
    return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
  except (OSError, subprocess.CalledProcessError):
    return None


def record(workdir: pathlib.Path, run, *, write: bool = True) -> list[str]:
  """Writes config.json, dataset.json and versions.json, or checks that they are this run's.

  Of a folder that holds a run already, config.json changes in what may differ on resume alone, and
  dataset.json not at all: else what it has learned from would count as held out.

  Returns sentences to show. Raises ValueError that says what was changed, or which file is damaged.
  """
  workdir, told = pathlib.Path(workdir), []
  config, dataset = json_like(run.config), json_like(same_data.of_run(run))
  stored = check_same(workdir, config)
  # as it lies there: the digest that its checkpoints know is of that
  stored = None if stored is None else _stored(workdir)
  if (workdir / DATASET).exists():
    _check_same_data(workdir, dataset)
  else:
    if stored is not None and steps_done(workdir):
      told.append(
        f"Warning: {workdir / DATASET}: not found, it is written anew from the config; whether the "
        "data are those that the run was started with cannot be checked."
      )
    if write:
      run_of = _identity(config if stored is None else stored, dataset)
      sealed.write(workdir / DATASET, dataset | {RUN: run_of})
  if write:
    now = config if stored is None else same_run.updated(stored, config)
    if now != stored:
      sealed.write(workdir / CONFIG, now)
    sealed.write(workdir / VERSIONS, versions())
  return told


def write_new(workdir: pathlib.Path, config: dict, dataset: dict) -> None:
  """The files of a run that nothing was learnt in yet, or elsewhere."""
  config, dataset = json_like(config), json_like(dataset)
  sealed.write(workdir / DATASET, dataset | {RUN: _identity(config, dataset)})
  sealed.write(workdir / CONFIG, config)
  sealed.write(workdir / VERSIONS, versions())


def _identity(config: dict, dataset: dict) -> str:
  """A digest of what a run learns from, alike wherever it lies and however often it is resumed."""
  told = {name: config[name] for name in _LEARNT_FROM}
  told |= {name: config[name] for name in _ROLES if config.get(name)}
  # nothing is said of what every run of an earlier version did
  if config.get("task", _TASK) != _TASK:
    told["task"] = config["task"]
  told["split"] = {name: of for name, of in config["data"]["split"].items() if name != "path"}
  told |= {side: dataset[side] for side in ("training", "validation")}
  if streams := dataset.get("streams"):
    told["streams"] = {name: of["cases"] for name, of in streams.items()}
  return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def identity(workdir) -> str | None:
  """What tells a run's files from another one's; None where dataset.json is gone or older."""
  path, what = pathlib.Path(workdir) / DATASET, "what a run knows of its data"
  try:
    return sealed.read(path, what=what, advice=ADVICE, fields={RUN: str}, only=True)[RUN]
  except (OSError, ValueError):
    return None


def check_same(workdir: pathlib.Path, config: dict) -> dict | None:
  """The config of the run in a folder, None without one.

  Raises ValueError that says what was changed, if it is another config's run.
  """
  workdir = pathlib.Path(workdir)
  if not (workdir / CONFIG).exists():
    if steps_done(workdir):
      raise ValueError(
        f"{workdir / CONFIG}: not found, though there are checkpoints, so that nothing tells of "
        "what; put it back, or choose another --workdir."
      )
    _check_no_data(workdir, config["data"]["source"])
    return None
  stored = read_config(workdir)
  _check_whole(workdir / CONFIG)
  found = same_run.differences(stored, json_like(config), same_run.RESUME)
  if found:
    what = same_run.sentence(found) + same_run.given_as_rates(found, config["optimiser"])
    raise ValueError(f"{_another(workdir)} {what}. {_ways_out(workdir)}")
  return stored


def _check_no_data(workdir: pathlib.Path, source: dict) -> None:
  """Raises ValueError if a new run would lie among the files of a data set."""
  if (workdir / "imagesTr").is_dir():
    raise ValueError(
      f"{workdir}: is the folder of a data set (it holds imagesTr); choose another --workdir."
    )
  for name, place in places.folders(source):
    if files.real_path(place) == files.real_path(workdir):
      raise ValueError(
        f"{workdir}: is the folder of the data (config.data.source.{name}); choose another "
        "--workdir."
      )


def _another(workdir) -> str:
  return f"{workdir}: holds a run that was started otherwise, and goes on only as it was started:"


def _ways_out(workdir) -> str:
  if not steps_done(workdir):
    return "It has no checkpoint yet: remove the folder to start anew, or choose another --workdir."
  own = "Choose another --workdir, for a run of its own"
  # the stacked weights of an ensemble are no network's
  if read_config(workdir)["members"] > 1:
    return f"{own}."
  return (
    f"{own}; with --config.initialise.network={workdir} it starts from the weights of this one."
  )


def steps_done(workdir) -> int:
  """The step of a run's newest checkpoint, by its name; 0 without one."""
  names = [path.name for path in (pathlib.Path(workdir) / "checkpoints").glob("*")]
  return max((int(name) for name in names if name.isdigit()), default=0)


def _check_same_data(workdir: pathlib.Path, now: dict) -> None:
  before = plain(read_dataset(workdir, _DATASET_KINDS, only=False))
  preparation_in(before, workdir / DATASET)
  for told in (before, now):
    labels_in(told["labels"], workdir / DATASET)
  if what := same_data.difference(before, now):
    raise ValueError(f"{_another(workdir)} it began {what}. {_ways_out(workdir)}")


def run_folders(path, *, seeds: bool = False) -> tuple[pathlib.Path, ...]:
  """A run folder itself, or the folds `fold_0`, `fold_1`, ... of a cross-validation's folder.

  With `seeds` the runs `seed_0`, ... of a folder of these, too: to average what they predict.

  Raises FileNotFoundError if it is neither, ValueError if a fold is missing, or for a folder of
  seeds where one run is meant.
  """
  path = pathlib.Path(path)
  if (path / CONFIG).is_file():
    return (path,)
  folds = folds_in(path)
  if not folds and (runs := folds_in(path, SEED)):
    for folder in runs:
      _check_seed(folder)
    if seeds:
      return runs
    raise ValueError(
      f"{path}: holds runs of several seeds ({runs[0].name}, ...), which validate the same cases; "
      f"name one of them, as {runs[0]}."
    )
  if not folds:
    raise FileNotFoundError(
      f"{path / CONFIG}: not found; give the folder of a run (train.py's --workdir), or of "
      "several folds."
    )
  for folder in folds:
    _check_fold(folder)
  split = read_config(folds[0])["data"]["split"]
  # a gap in the numbers is seen without their number
  number = number_of_folds(split) or len(folds)
  wanted = [f"{FOLD}{i}" for i in range(number)]
  missing = [name for name in wanted if name not in {fold.name for fold in folds}]
  if missing:
    raise ValueError(
      f"{path}: {', '.join(missing)} of {len(wanted)} folds missing; train the rest (train.py "
      f"--fold=all), or name the folds to use: --workdir {' '.join(map(str, folds))}."
    )
  return folds


def _check_fold(folder: pathlib.Path) -> None:
  """Raises ValueError if a folder's name is not that of the fold in it: it is a copy of another."""
  fold = read_config(folder)["data"]["split"].get("fold")
  if fold is not None and folder.name != f"{FOLD}{fold}":
    raise ValueError(
      f"{folder}: holds fold {fold} of config.data.split, expected that of its name; give each "
      "fold its own folder back."
    )


def _check_seed(folder: pathlib.Path) -> None:
  """As `_check_fold`, of a seed."""
  seed = read_config(folder)["seed"]
  if folder.name != f"{SEED}{seed}":
    raise ValueError(
      f"{folder}: holds the run of config.seed={seed}, expected that of its name; give each seed "
      "its own folder back."
    )


def folds_in(path, kind: str = FOLD) -> tuple[pathlib.Path, ...]:
  """The run folders `fold_0`, `fold_1`, ... (or of SEED) of a folder, in order.

  `fold_0_old` is none.
  """
  found = (file.parent for file in pathlib.Path(path).glob(f"{kind}*/{CONFIG}"))
  folds = (folder for folder in found if folder.name.removeprefix(kind).isdigit())
  return tuple(sorted(folds, key=lambda folder: natural(folder.name)))


def home(folder: pathlib.Path) -> pathlib.Path:
  """The folder that a run is known by: of a fold, or of one of several seeds, that of all."""
  return folder.parent if folder.name.startswith((FOLD, SEED)) else folder


def number_of_folds(split: dict) -> int | None:
  """Of a stored config.data.split; None where only a file tells, which may lie elsewhere."""
  return count(**split) if split.get("name") in ("kfold", "blocks") else None


def json_like(value):
  """The value as it comes back from JSON."""
  return plain(json.loads(json.dumps(value, default=str)))


def describe(workdir) -> Described:
  """Reads a run folder; raises FileNotFoundError if it is none, ValueError if it is damaged."""
  workdir = pathlib.Path(workdir)
  kinds = {"labels": dict, "channels": list, "rank": int, "preparation": dict}
  config, where = read_config(workdir), workdir / DATASET
  kinds |= {TARGETS: dict} if makes_images(config) else {}
  told = read_dataset(workdir, kinds)
  _check_whole(workdir / CONFIG)
  labels, preparation = labels_in(told["labels"], where), preparation_in(told, where)
  targets = told[TARGETS] if TARGETS in kinds else {}
  return Described(config, labels, tuple(told["channels"]), told["rank"], preparation, targets)


def meaning(labels: LabelSpec) -> tuple:
  """What labels stand for: alike for two runs whose outputs can be compared or averaged."""
  return (labels.names, labels.regions or labels.stored_values)


def read_config(workdir) -> dict:
  """The config in a run folder, `completed`; raises ValueError where it was damaged or edited."""
  told = _stored(workdir)
  _check_kinds(told, plain(defaults.fields()), pathlib.Path(workdir) / CONFIG)
  return same_run.completed(told)


def _stored(workdir) -> dict:
  """The config in a run folder as it lies there, whatever version wrote it."""
  path = pathlib.Path(workdir) / CONFIG
  return plain(sealed.read(path, what="the config of a run", advice=ADVICE))


def _check_whole(path: pathlib.Path) -> None:
  """Raises ValueError where a model would be built of a default that training did not have."""
  parts = dict.fromkeys(("data", "network", "method"), dict)
  told = files.read_json(path, what="the config of a run", advice=ADVICE, fields=parts)
  fields = {"source": dict, "patch": list}
  files.check_fields(told["data"], path, advice=ADVICE, fields=fields, prefix="data.")


def read_dataset(workdir, kinds: dict, *, only: bool = True) -> dict:
  """dataset.json of a run folder; with `only` other fields than `kinds` may be damaged.

  Raises ValueError where it was damaged or edited.
  """
  path, what = pathlib.Path(workdir) / DATASET, "what a run knows of its data"
  return sealed.read(path, what=what, advice=ADVICE, fields=kinds, only=only)


def read_versions(workdir) -> dict:
  """versions.json of a run folder; raises FileNotFoundError or ValueError."""
  return sealed.read(
    pathlib.Path(workdir) / VERSIONS,
    what="the versions that a run was made with",
    advice="give the train command again, it writes the file anew",
    fields={"packages": dict, "python": str, "devices": list, "git": (str, type(None))},
  )


def labels_in(told: dict, where) -> LabelSpec:
  """Labels as dataset.json tells them; raises ValueError, which `where` begins."""
  try:
    return LabelSpec.from_json(json.dumps(told))
  except ValueError as error:
    raise ValueError(f"{where}: 'labels': {error}; {ADVICE}.") from error


def preparation_in(told: dict, where) -> Preparation:
  """The preparation of a set that is told with its channels and rank; as `labels_in`."""
  try:
    preparation = Preparation.from_json(json.dumps(told["preparation"]))
    if (list(preparation.channels), preparation.rank) != (list(told["channels"]), told["rank"]):
      raise ValueError("its channels and rank are not those of the data set")
  except ValueError as error:
    raise ValueError(f"{where}: 'preparation': {error}; {ADVICE}.") from error
  return preparation


def is_sealed(workdir) -> bool:
  """Whether the config in a run folder has digests; those of earlier versions have none."""
  return sealed.DIGESTS in files.read_json(
    pathlib.Path(workdir) / CONFIG, what="the config of a run", advice=ADVICE
  )


def _check_kinds(told: dict, known: dict, path: pathlib.Path, prefix: str = "") -> None:
  """Raises ValueError where a field of a config is of another kind than its default."""
  for name, default in known.items():
    if name not in told or default is None or name == "normalise":
      continue
    kinds = (int, float) if isinstance(default, float) else (type(default),)
    files.check_fields(told, path, advice=ADVICE, fields={name: kinds}, prefix=prefix)
    if name in ("data", "evaluate"):
      _check_kinds(told[name], default, path, f"{name}.")
