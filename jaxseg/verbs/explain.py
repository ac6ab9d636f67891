"""explain: why a run said so, as maps on the scan's own grid, and how far they can be believed."""

import argparse
import pathlib
import re
import sys
from typing import Any

import imageio.v3 as imageio
import numpy as np

from jaxseg import data, explain, files
from jaxseg.batch import LabelSpec
from jaxseg.config import domains, rehearsal
from jaxseg.config.overrides import literal
from jaxseg.config.ranges import COUNT, FROM_0
from jaxseg.config.streams import MAIN_WORD
from jaxseg.config.synthesis import SYNTHESIS
from jaxseg.data.formats.images import read_label
from jaxseg.data.sources.case_files import find_cases
from jaxseg.data.sources.source import on_image_grid
from jaxseg.explain import layers, mapping, sheet
from jaxseg.explain import scan as scans
from jaxseg.explain.calibration_cases import held_out
from jaxseg.explain.page import page
from jaxseg.runs import checkpoint
from jaxseg.runs.folder import run_folders
from jaxseg.runs.load import as_model, by_configuration, open_runs
from jaxseg.verbs.arguments import Parser, number
from jaxseg.verbs.predict import check_output, read

# JAX adds lines of its own below this to errors of what it traces
_TRACED = "\n--------------------"
_WINDOWS = 8
# options that each kind of target needs
_NEEDS = {"class": None, "voxel": "at", "region": "region", "mask": "mask"}


def _parser() -> argparse.ArgumentParser:
  parser = Parser(
    prog="jaxseg explain",
    description="Explains what trained runs say about scans: maps in NIfTI with the scan's own "
    "geometry, a sheet of pictures for each scan, explain.html and explain.json. Several runs of "
    "one configuration give the mean of their maps.",
    epilog=f"methods: {', '.join(explain.METHODS)}.",
  )
  add = parser.add_argument
  add("run", nargs="+", type=pathlib.Path, metavar="RUN", help="a run folder, or one of folds")
  add("--input", type=pathlib.Path, help="a scan or a folder of scans")
  add("--output", type=pathlib.Path, help="folder for the maps")
  add("--method", nargs="+", default=["grad_cam"], metavar="NAME", help="default: grad_cam")
  add("--target", choices=scans.TARGETS, default="class", help="default: class, where predicted")
  add("--class", dest="label", metavar="NAME", help="class or region; default: the most predicted")
  add("--at", nargs="+", type=number(int, FROM_0), metavar="I", help="a voxel: Z Y X, or Y X")
  add("--region", nargs="+", metavar="A:B", help="a box: a range for each of z y x, or y x")
  add("--mask", type=pathlib.Path, help="a label file; what is not 0 is explained")
  add("--score", choices=mapping.SCORES, default=mapping.MARGIN, help="default: margin")
  add("--layer", nargs="+", default=[], metavar="PATH", help="default: deepest and last stage")
  add("--layers", action="store_true", help="list the network's layers, and stop")
  add("--set", nargs="+", default=[], metavar="NAME=VALUE", help="options of the method")
  add(
    "--windows",
    type=number(int, COUNT),
    default=_WINDOWS,
    help=f"at most so many; default: {_WINDOWS}",
  )
  add("--quality", action="store_true", help="deletion and insertion curves of each map")
  add("--label", dest="truth", type=pathlib.Path, metavar="FILE", help="for the pointing game")
  add("--randomise", action="store_true", help="check that random weights change each map")
  add("--checkpoint", choices=("latest", "best"), default="latest", help="default: latest")
  add("--domain", metavar="NAME", help="the stream that the scans are of, as of predict")
  return parser


def _options(words: list[str], methods: list[str]) -> dict[str, Any]:
  """--set's NAME=VALUE words; raises ValueError for one that a method does not have."""
  options = {}
  for word in words:
    name, sign, value = word.partition("=")
    if not sign:
      raise ValueError(f"--set {word}: expected NAME=VALUE, as samples=50.")
    options[name] = literal(value)
  for method in methods:
    mapping.check(method, options)
  return options


def _spans(words: list[str]) -> list[tuple[int, int]]:
  spans = []
  for word in words:
    match = re.fullmatch(r"(\d+):(\d+)", word)
    if match is None:
      raise ValueError(f"--region {word}: expected a range of voxels A:B for each axis, as 10:20.")
    spans.append((int(match[1]), int(match[2])))
  return spans


def _check(wanted) -> None:
  """Raises ValueError for options that are missing or would have no effect."""
  for method in wanted.method:
    mapping.method(method)
  needs = _NEEDS[wanted.target]
  if needs and getattr(wanted, needs) is None:
    raise ValueError(f"--target {wanted.target}: needs --{needs}.")
  for kind, option in _NEEDS.items():
    if option and kind != wanted.target and getattr(wanted, option) is not None:
      raise ValueError(
        f"--{option}: is of --target {kind}, but the target is {wanted.target}; leave one out."
      )
  if wanted.layers:
    return
  if "temperature" in wanted.method and wanted.domain not in (None, MAIN_WORD):
    raise ValueError(
      f"--domain {wanted.domain}: temperature is calibrated by cases of the main stream, and tells "
      "nothing of another one; leave one out."
    )
  for option in ("input", "output"):
    if getattr(wanted, option) is None:
      raise ValueError(f"--{option}: is missing.")
  kinds = {explain.METHODS[name].kind for name in wanted.method}
  if wanted.layer and not kinds & {explain.LAYER, explain.HEAD, explain.ATTENTION}:
    raise ValueError(f"--layer: {', '.join(wanted.method)} look at no layer; leave it out.")
  if kinds == {explain.ANSWERS}:
    asked = {"class": "label", "label": "truth", "quality": "quality", "randomise": "randomise"}
    useless = [option for option, field in asked.items() if getattr(wanted, field)]
    usual = {"target": scans.CLASS, "score": mapping.MARGIN, "windows": _WINDOWS}
    useless += [option for option, value in usual.items() if getattr(wanted, option) != value]
    if useless:
      raise ValueError(
        f"--{useless[0]}: {', '.join(wanted.method)} explain no target, but the whole scan; "
        "leave it out."
      )


def listing(subject: scans.Subject) -> str:
  """The network's layers as a table: path, kind, size of the output for one patch."""
  known, told = _layers(subject), subject.model.described
  rank = len(told.config["data"]["patch"])
  usual = layers.stages(known, rank, told.labels.channels)
  rows = [
    (f"{path}{' *' if path in usual else ''}", of.kind, "x".join(map(str, of.shape[1:])))
    for path, of in known.items()
  ]
  widths = [max(len(row[i]) for row in rows) for i in range(2)]
  lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]
  return "\n".join([*lines, "* the default of --layer"])


def _layers(subject: scans.Subject) -> dict[str, layers.Layer]:
  told = subject.model.described
  patch, channels = tuple(told.config["data"]["patch"]), len(told.channels)
  fields = ("prior",) if told.config["data"].get("prior") else ()
  batch = rehearsal.batch_shapes((1, *patch), channels, told.labels, fields=fields)
  state = next(iter(subject.opened.states.values()))
  return layers.layers(subject.apply, (state, batch), batch.pop("image"))


def _subject(paths, kind: str, domain: str | None) -> tuple[scans.Subject, list[pathlib.Path]]:
  folders = [folder for path in paths for folder in run_folders(path, seeds=True)]
  if len(by_configuration(folders)) > 1:
    raise ValueError(
      f"{', '.join(map(str, paths))}: differ in network, method or data options; explain each "
      "configuration on its own."
    )
  opened = open_runs(folders, kind=kind, domain=domain)
  told = opened.told[0]
  if told.config["task"]["name"] == SYNTHESIS:
    raise ValueError(f"{folders[0]}: makes images; only segmentations are explained.")
  return scans.subject(opened, as_model(opened, kind=kind)), folders


def _label(path, scan: scans.Scan, labels: LabelSpec, channel: int) -> np.ndarray:
  """(*space) bool on the scan's grid: where a label file has a class or region."""
  values, geometry = read_label(path)
  stored = on_image_grid(values, geometry, scan.raw.geometry, str(path), unless="")
  encoded, _ = labels.encode(stored, str(path))
  return encoded[..., channel] > 0 if labels.regions else encoded == channel


def _targeted(wanted, scan: scans.Scan, options) -> tuple[list, list[str], scans.Target, Any]:
  """The maps of the methods that explain a target, notes, the target, and the label or None."""
  aim = scans.target(
    scan,
    wanted.target,
    label=wanted.label,
    at=wanted.at,
    region=_spans(wanted.region) if wanted.region else None,
    mask=wanted.mask,
  )
  found, left = mapping.views(scan, aim, wanted.windows, score=wanted.score)
  runs, notes = len(scan.members), []
  frame = found[0].frame
  if frame.padded != frame.scores or left:
    notes.append(
      f"{len(found) // runs} window(s) of {'x'.join(map(str, frame.patch))} voxels explained, each "
      f"for the part of the target in it{f'; {left} with less of it left out' if left else ''}."
    )
  label = None
  if wanted.truth:
    label = _label(wanted.truth, scan, scan.subject.labels, aim.channel)
  maps = []
  for name in wanted.method:
    if explain.METHODS[name].kind == explain.ANSWERS:
      continue
    asked = wanted.layer if explain.METHODS[name].kind != explain.IMAGE else ()
    for layer in mapping.select_layers(scan, found[0], name, asked):
      made = mapping.map_of(scan, found, name, layer, options)
      if not made.values.any():
        notes.append(f"{made.name}: is 0 everywhere: nothing there speaks for the target.")
      maps.append(_judged(wanted, scan, found, made, name, layer, options, label))
  notes += [note for made in maps for note in made.notes]
  return maps, notes, aim, label


def _judged(wanted, scan, found, made, name, layer, options, label) -> mapping.Map:
  """The map with the numbers of the checks that are asked for."""
  numbers, notes = dict(made.numbers), []
  if wanted.quality:
    for kind, curve in mapping.curves(scan, found, made).items():
      numbers[f"{kind}_area"] = curve.area
  if label is not None:
    pointing = mapping.point(scan, made, label)
    numbers |= {"points_at_label": pointing.hit, "share_in_label": pointing.energy}
  if wanted.randomise and made.values.any():
    check = mapping.survival(scan, found, name, layer, options, seed=0)
    for part, value in zip(check.parts, check.similarity, strict=True):
      numbers[f"likeness_after_randomising_{part}"] = value
    if check.survives:
      notes.append(
        f"{made.name}: survives random weights (SSIM {check.similarity[-1]:.2f}): it shows the "
        "image rather than what the network learned; do not read it as an explanation."
      )
  error = numbers.get("completeness_error", 0.0)
  if error > 0.01:
    notes.append(
      f"{made.name}: misses {100 * error:.1f} % of the score's difference; raise --set most=200."
    )
  return made._replace(numbers=numbers, notes=tuple(notes))


def _answers(wanted, scan: scans.Scan, options, runs) -> list[mapping.Map]:
  maps = []
  for name in wanted.method:
    if explain.METHODS[name].kind != explain.ANSWERS:
      continue
    more = {"calibration": held_out(scan.subject, runs)} if name == "temperature" else {}
    made, numbers = explain.METHODS[name].function(scan, **options, **more)
    for kind, values in made.items():
      title = name if kind == name else f"{name}_{kind}"
      maps.append(mapping.Map(title, values, False, {**numbers, "mean": float(values.mean())}))
  return maps


def _one(wanted, subject, runs, name: str, case, options) -> dict[str, Any]:
  """Explains a scan and writes its maps and its sheet; gives its part of the page."""
  raw = read(case, subject.model.described)
  scan = scans.scan(subject, raw, str(case.files[0]))
  maps, notes, target, label = [], [], None, None
  words = "where the runs are unsure"
  if any(explain.METHODS[of].kind != explain.ANSWERS for of in wanted.method):
    maps, notes, target, label = _targeted(wanted, scan, options)
    words = f"{target.words} (score: {wanted.score})"
  maps += _answers(wanted, scan, options, runs)
  shown, files_of = [], {}
  for made in maps:
    values = scans.on_scan(scan, made.values)
    path = wanted.output / f"{name}_{made.name}.nii.gz"
    data.write_image(path, values, raw.geometry)
    files_of[made.name] = path.name
    shown.append((made.name, values, made.signed))
  inside = None if target is None else scans.on_scan(scan, target.inside) > 0.5
  tiles, plane = sheet.tiles(raw, inside, shown, label)
  with files.replacing(wanted.output / f"{name}_explained.png") as temporary:
    imageio.imwrite(temporary, sheet.sheet(tiles))
  return {
    "name": name,
    "words": words,
    "plane": plane,
    "tiles": tiles,
    "notes": notes,
    "maps": [
      {"name": made.name, "file": files_of[made.name], "numbers": made.numbers} for made in maps
    ],
  }


def _run(wanted) -> None:
  _check(wanted)
  options = _options(wanted.set, wanted.method)
  kind = checkpoint.BEST if wanted.checkpoint == "best" else checkpoint.LATEST
  subject, runs = _subject(wanted.run, kind, wanted.domain)
  if wanted.layers:
    print(listing(subject))
    return
  told = subject.model.described
  if remark := domains.note(told.config, wanted.domain):
    print(f"explain: note: {remark}.", file=sys.stderr)
  cases, notes = find_cases(
    wanted.input, channels=told.channels, rank=told.rank, output=wanted.output
  )
  for note in notes:
    print(f"explain: note: {note}.", file=sys.stderr)
  for option, what in (("mask", "mask"), ("truth", "label")):
    if getattr(wanted, option) and len(cases) > 1:
      raise ValueError(f"--{what}: is of one scan, but --input has {len(cases)}; give one scan.")
  check_output(wanted.output, cases)
  files.writable_folder(wanted.output, "--output")
  told_cases, failures = [], []
  for name, case in cases.items():
    try:
      told_cases.append(_one(wanted, subject, runs, name, case, options))
    except files.DiskFull:
      raise
    except (ValueError, OSError) as error:
      if len(cases) == 1:
        raise
      failures.append(f"explain: {error}")
      continue
    for note in told_cases[-1]["notes"]:
      print(f"explain: note: {name}: {note}", file=sys.stderr)
  title = f"{told.config['network']['name']}: {', '.join(wanted.method)}"
  files.write_text(wanted.output / "explain.html", page(title, told_cases))
  numbers = [{key: of[key] for key in ("name", "words", "maps", "notes")} for of in told_cases]
  files.write_json(wanted.output / "explain.json", numbers)
  print(f"{len(told_cases)} scan(s) explained in {wanted.output}: explain.html, explain.json")
  if failures:
    sys.exit("\n".join(failures))


def main(arguments: list[str]) -> None:
  wanted = _parser().parse_args(arguments)
  try:
    _run(wanted)
  except (ValueError, OSError) as error:
    sys.exit(f"explain: {str(error).split(_TRACED)[0].strip()}")
