"""The trials of `trust_damage.py`: which file is damaged how, and which verb is given then."""

import json
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Trial(NamedTuple):
  """One damage and one verb.

  Attributes:
    group: row of the table.
    state: the run that is damaged: "whole", or "stopped" after step 9 of 12.
    verb: "resume", "predict", "report", "find-best" or "plans".
    file: path in the trial's folder.
    what: the damage in a word.
    damage: does it, to the trial's folder.
    named: what a sentence must hold; the file's name by default.
    changes: fields of the config that the command changes.
    may_differ: results that cannot be right any more, if it is told.
  """

  group: str
  state: str
  verb: str
  file: str
  what: str
  damage: Callable[[pathlib.Path], Any]
  named: str = ""
  changes: dict | None = None
  may_differ: tuple[str, ...] = ()


def flip(path: pathlib.Path) -> None:
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 4
  path.write_bytes(bytes(data))


def cut(path: pathlib.Path) -> None:
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: pathlib.Path) -> None:
  path.write_bytes(b"")


def delete(path: pathlib.Path) -> None:
  shutil.rmtree(path) if path.is_dir() else path.unlink()


BYTES = {"flipped": flip, "cut": cut, "empty": empty, "deleted": delete}


def edited(change: Callable[[Any], Any], *, digests: bool = True):
  """Rewrites a JSON file; without `digests` it is as one of an earlier version."""

  def act(path: pathlib.Path) -> None:
    told = json.loads(path.read_text())
    if not digests and isinstance(told, dict):
      told.pop("digests", None)
    changed = change(told)
    path.write_text(json.dumps(told if changed is None else changed))

  return act


def put(*path, value=None):
  """Sets a field; removes it where `value` is DROP."""

  def change(told):
    for name in path[:-1]:
      told = told[name]
    if value is DROP:
      del told[path[-1]]
    else:
      told[path[-1]] = value

  return change


DROP = object()
# on files without digests only what cannot be another run's is seen
SHAPES = {
  "run/config.json": {
    "[]": lambda told: [],
    "{}": lambda told: {},
    "network a text": put("network", value="unet"),
    "network null": put("network", value=None),
    "without patch": put("data", "patch", value=DROP),
    "patch a text": put("data", "patch", value="32"),
    "other widths": put("network", "widths", value=[4, 12]),
    "another network": put("network", "name", value="vnet"),
    "no such network": put("network", "name", value="unett"),
  },
  "run/dataset.json": {
    "[]": lambda told: [],
    "without labels": put("labels", value=DROP),
    "labels {}": put("labels", value={}),
    "without stored_values": put("labels", "stored_values", value=DROP),
    "preparation {}": put("preparation", value={}),
    "preparation with a field": put("preparation", "blur", value=1),
    "without rank": put("rank", value=DROP),
    "rank 3": put("rank", value=3),
    "channels a text": put("channels", value="ct"),
  },
}
EDITS = {
  "run/config.json": {
    "other activation": put("network", "activation", value="leaky_relu"),
    "other overlap": put("predictor", "overlap", value=0.1),
    "other steps": put("steps", value=9),
  },
  "run/dataset.json": {
    "labels reordered": lambda told: told["labels"]["names"].reverse(),
    "other normalisation": put("preparation", "normalisation", value=[{"name": "none"}]),
    "spacing": put("preparation", "spacing", value=[2, 2]),
  },
}
USES = ("resume", "predict", "report")


def trials(base: pathlib.Path) -> Iterator[Trial]:
  yield from _checkpoints(base)
  yield from _descriptions()
  yield from _results(base)
  yield from _prepared(base)
  yield from _plans()
  yield from _changed_runs()


def _checkpoints(base) -> Iterator[Trial]:
  home = base / "stopped" / "checkpoints"
  newest = max(int(path.name) for path in home.iterdir())
  run = pathlib.Path("run/checkpoints") / str(newest)
  files = sorted(path.relative_to(home) for path in (home / str(newest)).rglob("*"))
  files = [path for path in files if (home / path).is_file() and (home / path).stat().st_size]
  largest = max(files, key=lambda path: (home / path).stat().st_size)
  chosen = {largest: BYTES}
  for path in files:
    if path.name in ("manifest.ocdbt", "_METADATA", "note.json") and "process" not in str(path):
      chosen[path] = BYTES
  for path, kinds in chosen.items():
    for what, how in kinds.items():
      file = f"run/checkpoints/{path}"
      for verb in ("resume", "predict") if what in ("flipped", "deleted") else ("resume",):
        damage = _on(file, how)
        yield Trial(
          "checkpoint", "stopped", verb, file, what, damage, named=f"checkpoints/{newest}"
        )

  shapes = {
    "[]": lambda told: [],
    "without arrays": put("arrays", value=DROP),
    "without files": put("files", value=DROP),
    "unknown type": lambda told: told["arrays"]["step"].__setitem__(0, "int33"),
    "best a text": put("best", value="x"),
    "best 9.9": put("best", value=9.9),
    "another step": put("step", value=99),
  }
  note = str(run / "note.json")
  for what, change in shapes.items():
    for verb in ("resume", "predict"):
      damage = _on(note, edited(change))
      yield Trial("note", "stopped", verb, note, what, damage, named=f"checkpoints/{newest}")

  def all_flipped(home):
    for path in (home / "run" / "checkpoints").glob("*/state/**/*"):
      if path.is_file() and path.stat().st_size:
        flip(path)

  folder = "run/checkpoints"
  for verb in ("resume", "predict"):
    moved = _on(str(run), lambda path: path.rename(path.with_name("99")))
    yield Trial(
      "checkpoint", "stopped", verb, str(run), "renamed 99", moved, named="checkpoints/99"
    )
    gone = _on(str(run), delete)
    # what is not there is not missed: the run goes on from the one before
    yield Trial("checkpoint", "stopped", verb, str(run), "deleted", gone)
    yield Trial("checkpoint", "stopped", verb, folder, "all flipped", all_flipped)
  best = max((base / "stopped" / "best").iterdir())
  largest = max(
    (path for path in best.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
  )
  for state in ("stopped", "whole"):
    for what, how in BYTES.items():
      place = base / state / "best"
      step = max(place.iterdir(), key=lambda path: int(path.name)).name
      inner = max((place / step).rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
      file = f"run/best/{inner.relative_to(place)}"
      told = ("best", "report", *_BEST)
      yield Trial(
        "best", state, "resume", file, what, _on(file, how), named="best", may_differ=told
      )
    file = "run/best"
    yield Trial("best", state, "resume", file, "deleted", _on(file, delete), may_differ=told)


_BEST = ("best step",)


def _on(file: str, how):
  return lambda home: how(home / file)


def _descriptions() -> Iterator[Trial]:
  for file in ("run/config.json", "run/dataset.json", "run/versions.json"):
    for what, how in BYTES.items():
      for verb in USES:
        state = "stopped" if verb == "resume" else "whole"
        yield Trial(file[4:], state, verb, file, what, _on(file, how))
  for table, sealed in ((SHAPES, True), (SHAPES, False), (EDITS, True)):
    for file, changes in table.items():
      for what, change in changes.items():
        for verb in ("resume", "predict"):
          state = "stopped" if verb == "resume" else "whole"
          name = what if sealed else f"{what}, without digests"
          damage = _on(file, edited(change, digests=sealed))
          # of old files it is the run that is told, with the field
          named = "" if sealed or verb == "predict" else "run"
          yield Trial(file[4:], state, verb, file, name, damage, named=named)
  for what, change in {"{}": lambda told: {}, "[]": lambda told: []}.items():
    for verb in USES:
      state = "stopped" if verb == "resume" else "whole"
      damage = _on("run/versions.json", edited(change))
      yield Trial("versions.json", state, verb, "run/versions.json", what, damage)


def _results(base) -> Iterator[Trial]:
  rows = {
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe\n" + path.read_bytes()),
    "row 3": lambda path: path.write_bytes(b"3\n" + path.read_bytes()),
    "row {}": lambda path: path.write_bytes(b"{}\n" + path.read_bytes()),
    **BYTES,
  }
  for what, how in rows.items():
    for verb, state in (("resume", "stopped"), ("report", "whole")):
      file = "run/metrics.jsonl"
      yield Trial("metrics.jsonl", state, verb, file, what, _on(file, how), may_differ=("metrics",))
  shapes = {
    "[]": lambda told: [],
    "{}": lambda told: {},
    "cases {}": put("cases", value={}),
    "0.99": lambda told: _first(told["cases"])["own"]["dice"].update(body=0.99),
    "without step": put("step", value=DROP),
    "without own": lambda told: _first(told["cases"]).pop("own"),
    "another step": put("step", value=13),
  }
  for file in ("run/validation/scores.json", "run/report.json"):
    damages = {**BYTES}
    damages |= {
      what: edited(change)
      for what, change in shapes.items()
      if "scores" in file or what in ("[]", "{}", "cases {}")
    }
    for what, how in damages.items():
      # predict needs none of them
      for verb in ("resume", "report", *(["predict"] if what == "cut" else [])):
        yield Trial(file.split("/")[-1], "whole", verb, file, what, _on(file, how))
  written = sorted((base / "whole" / "validation").glob("*.nii.gz"))
  case = written[0].name.removesuffix(".nii.gz")
  folder = "run/validation"
  for name in (f"{case}.nii.gz", f"{case}_probabilities.npz", f"views/{case}.npz"):
    for what, how in BYTES.items():
      for verb in ("resume", "report", "find-best"):
        file = f"{folder}/{name}"
        yield Trial("validation", "whole", verb, file, what, _on(file, how))


def _first(table: dict):
  return next(iter(table.values()))


def _prepared(base) -> Iterator[Trial]:
  (home,) = (path.parent for path in (base / "prepared").rglob("jaxseg.json"))
  told = json.loads((base / "stopped" / "dataset.json").read_text())
  names = sorted([*told["training"], *told["validation"]])
  case = home / f"{names.index(told['training'][0]):06d}"
  chosen = [case / "locations.npy", home / "jaxseg.json"]
  chosen += [
    next(p for p in (case / f / "c").rglob("*") if p.is_file()) for f in ("image", "label")
  ]
  chosen += [case / "image" / "zarr.json"]
  for path in chosen:
    file = str(path.relative_to(base))
    for what, how in BYTES.items():
      yield Trial("prepared", "stopped", "resume", file, what, _on(file, how), named=home.name)
  index = str((home / "jaxseg.json").relative_to(base))
  for what, change in {
    "[]": lambda told: [],
    "spacing": lambda told: told["cases"][0].update(spacing=[2.0, 2.0]),
    "without cases": put("cases", value=DROP),
  }.items():
    damage = _on(index, edited(change))
    yield Trial("prepared", "stopped", "resume", index, what, damage, named=home.name)


def _plans() -> Iterator[Trial]:
  for name, shapes in {
    "nnUNetPlans.json": {
      "[]": lambda told: [],
      "without configurations": put("configurations", value=DROP),
      "configurations a list": put("configurations", value=[]),
      "2d null": put("configurations", "2d", value=None),
      "patch_size a text": put("configurations", "2d", "patch_size", value="x"),
    },
    "dataset_fingerprint.json": {
      "[]": lambda told: [],
      "spacings a number": put("spacings", value=3),
      "intensities null": put("foreground_intensity_properties_per_channel", value=None),
      "without shapes": put("shapes_after_crop", value=DROP),
    },
    "splits_final.json": {
      "{}": lambda told: {},
      "a list of words": lambda told: ["a"],
      "train null": lambda told: told[0].update(train=None),
      "without val": lambda told: told[0].pop("val"),
      "an unknown case": lambda told: told[0]["val"].append("zz"),
    },
  }.items():
    file = f"plans/{name}"
    for what in ("cut", "empty", "deleted"):
      yield Trial("plans and splits", "whole", "plans", file, what, _on(file, BYTES[what]))
    for what, change in shapes.items():
      named = "data.split" if what == "an unknown case" else ""
      damage = _on(file, edited(lambda told, of=change: _kept(told, of), digests=False))
      yield Trial("plans and splits", "whole", "plans", file, what, damage, named=named)


def _kept(told, change):
  """The file's object, changed in place or replaced; what a change gives back by the way is not."""
  changed = change(told)
  return changed if isinstance(changed, list | dict) and changed in ([], {}, ["a"]) else None


def _changed_runs() -> Iterator[Trial]:
  """The same command with other options: no damage, but another run (W1)."""
  for field, value in {
    "data.normalise": "none",
    "data.patch": (16, 16),
    "data.batch": 4,
    "seed": 1,
    "steps": 6,
    "data.source.size": (36, 36),
    "optimiser.learning_rate": 0.1,
    "loss": {"dice": {"weight": 1.0}},
    "augment": {"mirror": {}},
    "average": 0.0,
  }.items():
    for state in ("whole", "stopped"):
      changes = {field: value}
      yield Trial(
        "another run", state, "resume", "run", f"{field}={value}", lambda home: None, field, changes
      )
