"""A planned config mirrors what the plan allows, and what the config says itself goes before."""

import functools
import json

import nibabel as nib
import numpy as np
import pytest

from jaxseg import defaults, planning
from jaxseg.planning import planned_config as planned

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """Five scans in nnU-Net's format of a cap in front of a stem, of the same brightness."""
  quick = functools.partial(planning.fingerprint, draws=6000, workers=1)
  monkeypatch.setattr(planning, "fingerprint", lambda source, workers: quick(source))
  root = tmp_path / "Dataset003_Two"
  for part in ("imagesTr", "labelsTr"):
    (root / part).mkdir(parents=True)
  for i in range(5):
    random = np.random.default_rng(i)
    x, y, z = np.array([12, 16, 12]) + random.integers(-2, 3, 3)
    label = np.zeros((24, 32, 24), np.uint8)
    label[x - 4 : x + 4, y : y + 8, z - 4 : z + 4] = 1
    label[x - 4 : x + 4, y - 8 : y, z - 4 : z + 4] = 2
    image = (random.normal(0, 10, label.shape) + 100 * (label > 0)).astype(np.float32)
    nib.save(nib.Nifti1Image(image, AFFINE), root / f"imagesTr/c{i}_0000.nii.gz")
    nib.save(nib.Nifti1Image(label, AFFINE), root / f"labelsTr/c{i}.nii.gz")
  told = {
    "channel_names": {"0": "MR"},
    "labels": {"background": 0, "cap": 1, "stem": 2},
    "file_ending": ".nii.gz",
    "numTraining": 5,
  }
  (root / "dataset.json").write_text(json.dumps(told))
  return root


def resolved(folder, lines=None, **changes):
  config = defaults.planned(str(folder), preset="cpu", folder=str(folder.parent / "plans"))
  for field, value in changes.items():
    config.augment[field] = value
  said = [] if lines is None else lines
  return planned.resolve(config, say=said.append)


def test_the_planned_axes_are_mirrored_and_others_on_request(folder):
  assert dict(resolved(folder).augment.mirror)["axes"] == (0, 2)
  assert dict(resolved(folder, mirror={"axes": (0, 1, 2)}).augment.mirror)["axes"] == (0, 1, 2)


def test_a_plan_from_before_mirrors_all_axes_and_says_so(folder):
  resolved(folder)
  (folder.parent / "plans" / folder.name / planning.MIRRORING).unlink()
  lines = []
  assert "axes" not in resolved(folder, lines).augment.mirror
  assert "holds no mirroring.json: all axes are mirrored" in " ".join(lines)
