"""nnU-Net's own predictor beside ours: on the same model folders, and on those we wrote.

No part of the tests, because it needs nnunetv2 and PyTorch in an environment of their own:

  python benchmarks/nnunet_bridge.py --python NNUNET_ENVIRONMENT/bin/python MODEL_FOLDER ...

Of each model folder: it is imported and exported again; synthetic scans (other voxels than the
plan's, a border of zeros to be cropped) are segmented by nnU-Net with the original folder, by
nnU-Net with our folder, and by `jaxseg predict --mirror`. The table tells how far probabilities are
apart, and the share of voxels with another label. nnU-Net's two must be equal to the bit. With
--variants each model is tried with other plans as well (see `VARIANTS`): its logits mean nothing,
but both programs must prepare the scans alike.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import imageio.v3 as imageio
import nibabel as nib
import numpy as np

from jaxseg.interop import torch_file, torch_writing
from jaxseg.interop.nnunet_export import export
from jaxseg.interop.nnunet_import import import_model
from jaxseg.runs import folder as run_folder
from jaxseg.verbs import predict

# runs in the other environment: folder with models, images, outputs
_NNUNET = """
import sys
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
torch.set_num_threads(1)
for model, output in zip(sys.argv[2::2], sys.argv[3::2]):
  predictor = nnUNetPredictor(perform_everything_on_device=False, device=torch.device("cpu"),
                              allow_tqdm=False)
  predictor.initialize_from_trained_model_folder(model, None)
  predictor.predict_from_files_sequential(sys.argv[1], output, save_probabilities=True)
"""


def _scans(folder: pathlib.Path, told: run_folder.Described, number: int) -> None:
  """Smooth noise in a box of zeros, in nnU-Net's names of files."""
  random = np.random.default_rng(0)
  for i in range(number):
    if told.rank == 2:
      picture = random.integers(1, 255, (70 + 9 * i, 83, len(told.channels)))
      imageio.imwrite(folder / f"scan{i}_0000.png", picture.astype(np.uint8).squeeze())
      continue
    # slices keep their thickness
    planned = np.array([mm or 3.0 for mm in told.preparation.spacing])
    # x, y, z
    spacing = (planned * (1.3, 0.8, 1.15))[::-1] if i else planned[::-1]
    for channel in range(len(told.channels)):
      voxels = np.zeros((38, 36, 24), np.float32)
      voxels[3:-4, 5:-2, 2:-3] = 50 + 20 * random.standard_normal((31, 29, 19))
      # the second lies otherwise: LPS, not RAS
      image = nib.Nifti1Image(voxels, np.diag([*(spacing * (-1, -1, 1) if i else spacing), 1.0]))
      nib.save(image, folder / f"scan{i}_{channel:04d}.nii.gz")


def _probabilities(folder: pathlib.Path, ours: bool) -> dict[str, np.ndarray]:
  """Case -> (classes, *space), of nnU-Net's files or of ours."""
  suffix, out = "_probabilities.npz" if ours else ".npz", {}
  for file in sorted(folder.glob(f"*{suffix}")):
    values = np.load(file)["probabilities"]
    out[file.name.removesuffix(suffix)] = np.moveaxis(values, -1, 0) if ours else values
  return out


def _transposed(plans, configuration):
  # there and back are not the same
  plans["transpose_forward"], plans["transpose_backward"] = [2, 0, 1], [1, 2, 0]


def _ct(plans, configuration):
  configuration["normalization_schemes"] = ["CTNormalization"] * len(
    configuration["normalization_schemes"]
  )
  numbers = {"mean": 45.0, "std": 18.0, "percentile_00_5": 12.0, "percentile_99_5": 88.0}
  for channel in plans["foreground_intensity_properties_per_channel"].values():
    channel.update(numbers)


def _turned(plans, configuration):
  """By a reader that turns scans to RAS."""
  if plans["image_reader_writer"] == "SimpleITKIO":
    plans["image_reader_writer"] = "NibabelIOWithReorient"


def _masked(plans, configuration):
  configuration["use_mask_for_norm"] = [True] * len(configuration["use_mask_for_norm"])


def _volumes(plans, configuration):
  """Of pictures: slices of volumes."""
  if plans["image_reader_writer"] != "SimpleITKIO":
    plans["original_median_spacing_after_transp"] = [3.0, 1.0, 1.0]
    plans["original_median_shape_after_transp"] = [20, 48, 64]
    plans["image_reader_writer"] = "SimpleITKIO"


VARIANTS = {
  "transposed": _transposed,
  "turned": _turned,
  "ct": _ct,
  "masked": _masked,
  "volumes": _volumes,
}


def _variant(model: pathlib.Path, folder: pathlib.Path, change) -> pathlib.Path:
  """The model folder with other plans."""
  plans, told = (json.loads((model / name).read_text()) for name in ("plans.json", "dataset.json"))
  (configuration,) = plans["configurations"].values()
  # the axes that pictures lack cannot be turned
  if not (change is _transposed and plans["image_reader_writer"] == "NaturalImage2DIO"):
    change(plans, configuration)
  if plans["image_reader_writer"] != "NaturalImage2DIO":
    told["file_ending"] = ".nii.gz"
  for file in model.glob("fold_*/checkpoint_final.pth"):
    content = torch_file.load(file)
    content["init_args"] |= {"plans": plans, "dataset_json": told}
    torch_writing.save(folder / file.relative_to(model), content)
  (folder / "plans.json").write_text(json.dumps(plans))
  (folder / "dataset.json").write_text(json.dumps(told))
  return folder


def _compare(model: pathlib.Path, python: str, work: pathlib.Path, number: int) -> dict:
  imported = import_model(model, work / "run")
  export(imported.folders, work / "exported")
  told = run_folder.describe(imported.folders[0])
  (work / "scans").mkdir()
  _scans(work / "scans", told, number)
  words = [str(work / "scans")]
  for name, folder in (("original", model), ("written", work / "exported")):
    (work / name).mkdir()
    words += [str(folder), str(work / name)]
  paths = {f"nnUNet_{of}": str(work) for of in ("raw", "preprocessed", "results")}
  subprocess.run([python, "-c", _NNUNET, *words], check=True, env={**os.environ, **paths})
  options = ["--workdir", work / "run", "--input", work / "scans", "--output", work / "ours"]
  predict.main([*map(str, options), "--mirror", "--probabilities"])
  original, written = (_probabilities(work / of, False) for of in ("original", "written"))
  ours = _probabilities(work / "ours", True)
  row = {"cases": len(original)}
  row["ours_written_equal"] = all(np.array_equal(original[k], written[k]) for k in original)
  if told.preparation.orientation != "stored":
    # nnU-Net leaves probabilities as its reader turned the scan; the first lay so
    original = {n: of if n == "scan0" else np.flip(of, (2, 3)) for n, of in original.items()}
  pairs = [(original[name].reshape(ours[name].shape), ours[name]) for name in original]
  row["largest"] = max(float(np.abs(a - b).max()) for a, b in pairs)
  row["mean"] = float(np.mean([np.abs(a - b).mean() for a, b in pairs]))
  decided = [told.labels.decode(np.moveaxis(of, 0, -1), threshold=0.5) for of in sum(pairs, ())]
  row["other_labels"] = float(
    np.mean([(a != b).mean() for a, b in zip(decided[::2], decided[1::2], strict=True)])
  )
  return row


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("models", nargs="+", type=pathlib.Path)
  parser.add_argument("--python", required=True, help="of an environment with nnunetv2")
  parser.add_argument("--cases", type=int, default=2)
  parser.add_argument("--variants", action="store_true", help="other plans, too")
  options = parser.parse_args()
  for model in options.models:
    for name, change in {"": None, **(VARIANTS if options.variants else {})}.items():
      with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        tried = _variant(model, work / "model", change) if name else model
        row = _compare(tried, options.python, work, options.cases)
        print(json.dumps({"model": f"{model.name} {name}".strip(), **row}), flush=True)


if __name__ == "__main__":
  main()
