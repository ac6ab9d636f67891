"""Our plans beside nnU-Net's own, field by field, for six real data sets and its three presets.

Usage: python benchmarks/plans.py [--data ../shared/data] [--reference ../shared/spec/nnunet_plans]
       [--sets hippocampus drive ...] [--workers N]

The reference holds what nnU-Net 2.8.1 wrote for the same images (see its README). Each plan is
compared from its own fingerprint, taken here from the images. Intensity statistics may differ by
2 %, everything else not at all. Exit status 1 if anything differs.
"""

import argparse
import functools
import json
import pathlib
import sys
import tempfile
import time

import numpy as np

from jaxseg import planning
from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase, Source, nnunet_raw, paired_folder, read_image, read_label

PRESETS = {
  "nnUNetPlans": "default",
  "nnUNetResEncUNetMPlans": "resenc_m",
  "nnUNetResEncUNetLPlans": "resenc_l",
}
_INTENSITIES = "foreground_intensity_properties_per_channel"


def _volumes(folder: pathlib.Path, classes: int) -> Source:
  names = ("background", *(str(value) for value in range(1, classes + 1)))
  return paired_folder(
    str(folder),
    str(folder),
    names=names,
    channels=("image",),
    image_pattern="image_*.nii.gz",
    case=r"image_(\d+)",
    mask_pattern="label_{case}.nii.gz",
  )


def _brats_case(case: str, root: pathlib.Path) -> RawCase:
  files = (f"{name}_subtrMeanDivStd.nii.gz" for name in ("Flair", "T1c"))
  images, grids = zip(*(read_image(root / case / file) for file in files), strict=True)
  label, _ = read_label(root / case / "OTMultiClass.nii.gz")
  return RawCase(np.concatenate(images, -1), label, None, grids[0])


def _brats(root: pathlib.Path) -> Source:
  cases = tuple(sorted(folder.name for folder in root.iterdir() if folder.is_dir()))
  labels = LabelSpec(("background", "a", "b", "c", "d"), (0, 1, 2, 3, 4))
  read = functools.partial(_brats_case, root=root)
  return Source("brats", cases, ("FLAIR", "T1c"), labels, 3, read, "")


def sources(data: pathlib.Path) -> dict:
  """Name -> a function that opens the set."""
  drive, isbi = data / "drive/training", data / "isbi2012_em/train"
  return {
    "hippocampus": lambda: nnunet_raw(str(data / "msd_hippocampus")),
    "abdomenmr": lambda: _volumes(data / "abdomen_ct_mr/mr", 4),
    "abdomenct": lambda: _volumes(data / "abdomen_ct_mr/ct", 13),
    "brats": lambda: _brats(data / "brats2013_deepmedic"),
    "isbi": lambda: paired_folder(
      str(isbi / "image"), str(isbi / "label"), names=("interior", "membrane"), values=(255, 0)
    ),
    "drive": lambda: paired_folder(
      str(drive / "images"),
      str(drive / "1st_manual"),
      names=("background", "vessel"),
      values=(0, 255),
      channels=("red", "green", "blue"),
      case=r"(\d+)_training",
      mask_pattern="{case}_manual1.gif",
    ),
  }


def leaves(value, path=()):
  """(path, value) of every leaf of a JSON file; lists of numbers are leaves."""
  if isinstance(value, dict):
    for key, item in value.items():
      yield from leaves(item, (*path, key))
  else:
    yield path, value


def compare(ours: dict, theirs: dict) -> tuple[int, list[str], float]:
  """(equal fields, the others in words, largest relative difference of the intensities)."""
  equal, different, largest = 0, [], 0.0
  found = dict(leaves(ours))
  for path, value in leaves(theirs):
    mine = found.pop(path, None)
    if _INTENSITIES in path and mine is not None:
      difference = abs(mine - value) / max(abs(value), 1e-6)
      largest = max(largest, difference)
      fits = difference <= 0.02
    else:
      fits = mine == value
    equal += fits
    if not fits:
      different.append(f"{'/'.join(path)}: {mine} instead of {value}")
  different += [f"{'/'.join(path)}: only ours" for path in found]
  return equal, different, largest


def _written(write, value) -> dict:
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "written.json"
    write(path, value)
    return json.loads(path.read_text())


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--data", type=pathlib.Path, default="../shared/data")
  parser.add_argument("--reference", type=pathlib.Path, default="../shared/spec/nnunet_plans")
  parser.add_argument("--sets", nargs="+", metavar="SET")
  parser.add_argument("--workers", type=int)
  given = parser.parse_args()
  print(f"{'set':<12} {'file':<24} {'equal':>6} {'differ':>6} {'intensities':>12} {'seconds':>8}")
  failed = False
  for name, opened in sources(given.data).items():
    if given.sets and name not in given.sets:
      continue
    started, reference = time.perf_counter(), given.reference / name
    source = opened()
    fingerprint = planning.fingerprint(source, workers=given.workers)
    seconds = f"{time.perf_counter() - started:.1f}"
    described = json.loads((reference / "dataset.json").read_text())
    rows = {"dataset_fingerprint": _written(planning.write_fingerprint, fingerprint)}
    del rows["dataset_fingerprint"]["class_voxels"]
    for file, preset in PRESETS.items():
      if not (reference / f"{file}.json").exists():
        continue
      told = json.loads((reference / f"{file}.json").read_text())
      description = planning.description(source, file_ending=described["file_ending"])
      # the channels' names choose the normalisation; the set's name is the reference's
      channels = tuple(described["channel_names"].values())
      description = description._replace(name=told["dataset_name"], channels=channels)
      plan = planning.plan(fingerprint, description, preset=preset)
      rows[file] = _written(planning.write_plan, plan)
    for file, ours in rows.items():
      theirs = json.loads((reference / f"{file}.json").read_text())
      if "shapes_after_crop" in theirs:
        # the order of the cases is ours: 2 before 10
        for both in (ours, theirs):
          pairs = sorted(zip(both.pop("shapes_after_crop"), both.pop("spacings"), strict=True))
          both["shapes and spacings"] = [[list(map(float, values)) for values in p] for p in pairs]
      equal, different, largest = compare(ours, theirs)
      row = f"{name:<12} {file:<24} {equal:>6} {len(different):>6} {largest:>12.1e} {seconds:>8}"
      print("\n".join([row, *(f"  {line}" for line in different)]), flush=True)
      seconds, failed = "", failed or bool(different)
  sys.exit(failed)


if __name__ == "__main__":
  main()
