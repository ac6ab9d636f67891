"""Targets on the network's grid, and the cases that a temperature is found by."""

import types

import nibabel as nib
import numpy as np
import pytest
import run_folders
import runs_to_explain
import tiny

from jaxseg.data import RawCase
from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.explain import calibration_cases
from jaxseg.explain import scan as scans
from jaxseg.explain.answers import temperature


def test_a_voxel_is_kept_where_the_networks_voxels_are_larger():
  how = Preparation(("x",), 2, ({"name": "none"},), spacing=(4.0, 4.0), resampling={"order": 1})
  grid = how.grid(plain_geometry((40, 20)))
  assert grid.shape == (10, 5)
  stored = np.zeros((40, 20), bool)
  stored[13, 7] = True
  assert np.argwhere(grid.mask(stored)).tolist() == [[3, 1]]
  stored[20:28, 8:16] = True
  inside = grid.mask(stored)
  assert inside[5:7, 2:4].all()
  assert inside.sum() == 5


def test_a_voxel_is_where_the_scan_has_it_though_the_network_sees_it_turned():
  how = Preparation(("x",), 3, ({"name": "none"},), orientation="RAS", transpose=(2, 0, 1))
  affine = np.array([[0, 0, 2.0, 5], [-1.5, 0, 0, 7], [0, 1.0, 0, -3], [0, 0, 0, 1]])
  grid = how.grid(Geometry(affine, (7, 6, 5), "nifti", nib.Nifti1Header()))
  stored = np.zeros((7, 6, 5), bool)
  stored[1, 4, 2] = True
  inside = grid.mask(stored)
  assert inside.sum() == 1
  np.testing.assert_array_equal(grid.restore(inside.astype(np.float32)) > 0.5, stored)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
  return runs_to_explain.subject(tmp_path_factory.mktemp("runs"))


def test_a_region_without_a_class_is_asked_for_the_one_that_is_seen_there(subject):
  found = scans.scan(subject, runs_to_explain.raw((20, 18)), "scan")
  aim = scans.target(found, scans.REGION, region=[(0, 4), (5, 9)])
  assert np.argwhere(aim.inside).min(0).tolist() == [0, 5]
  assert aim.inside.sum() == 16
  seen = found.logits[0:4, 5:9].argmax(-1).ravel()
  assert aim.channel == np.bincount(seen).argmax()


def test_classes_go_by_name_or_by_stored_value(subject):
  assert [scans.channel_of(subject.labels, name) for name in ("bright", "9", "5")] == [2, 2, 1]


def test_a_temperature_is_found_by_the_cases_that_validated_the_run(subject, tmp_path, monkeypatch):
  folder = run_folders.write(tmp_path / "run")
  names = []

  def read(name) -> RawCase:
    names.append(name)
    return tiny.raw(name, 2)

  monkeypatch.setattr(
    calibration_cases, "source_of", lambda config: types.SimpleNamespace(read=read)
  )
  found = scans.scan(subject, runs_to_explain.raw((20, 18)), "scan")
  maps, numbers = temperature(
    found, calibration=calibration_cases.held_out(subject, [folder]), voxels=200
  )
  assert names == ["case_4", "case_5"]
  assert maps["entropy"].shape == (20, 18)
  assert numbers["likelihood_after"] <= numbers["likelihood_before"]
