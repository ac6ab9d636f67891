"""Labels, channels and predictions stored along other axes than their image, by nibabel's turns."""

import json

import nibabel as nib
import numpy as np
import pytest

from jaxseg.data.sources.case_files import find_cases
from jaxseg.data.sources.nnunet_folder import nnunet_raw
from jaxseg.data.sources.read_case import read_case
from jaxseg.verbs.evaluate import evaluate

SHAPE = (7, 6, 5)  # x, y, z
AFFINE = np.array([[1.0, 0, 0, -9], [0, 1.5, 0, 4], [0, 0, 3, 8], [0, 0, 0, 1]])
TURNS = ("LPS", "PIR", "SAL")


def _turned(array, codes, affine=AFFINE):
  image = nib.Nifti1Image(array, affine)
  wanted = nib.orientations.axcodes2ornt(codes)
  return image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), wanted))


def _arrays(channels=1):
  rng = np.random.default_rng(0)
  images = [rng.integers(-50, 50, SHAPE).astype(np.int16) for _ in range(channels)]
  return images, rng.integers(0, 3, SHAPE).astype(np.uint8)


def _folder(root, images, label):
  for part in ("imagesTr", "labelsTr"):
    (root / part).mkdir(parents=True)
  for i, image in enumerate(images):
    nib.save(image, root / "imagesTr" / f"a_{i:04d}.nii.gz")
  nib.save(label, root / "labelsTr" / "a.nii.gz")
  channels = {str(i): f"c{i}" for i in range(len(images))}
  told = {"channel_names": channels, "labels": {"background": 0, "x": 1, "y": 2}}
  (root / "dataset.json").write_text(json.dumps({**told, "file_ending": ".nii.gz"}))
  return root


@pytest.mark.parametrize("codes", TURNS)
def test_a_label_and_a_channel_stored_along_other_axes_are_turned_to_the_image(tmp_path, codes):
  (first, second), label = _arrays(2)
  images = nib.Nifti1Image(first, AFFINE), _turned(second, codes)
  raw = nnunet_raw(_folder(tmp_path / "set", images, _turned(label, codes))).read("a")
  np.testing.assert_array_equal(raw.image, np.stack([first.T, second.T], -1))
  np.testing.assert_array_equal(raw.label, label.T)
  np.testing.assert_array_equal(raw.geometry.affine, AFFINE)
  (case,) = find_cases(tmp_path / "set" / "imagesTr").cases.values()
  np.testing.assert_array_equal(read_case(case).image, np.stack([first.T, second.T], -1))


def test_a_label_whose_header_alone_is_mirrored_is_refused(tmp_path):
  (image,), label = _arrays()
  mirrored = nib.Nifti1Image(label, AFFINE @ np.diag([-1.0, 1, 1, 1]))
  folder = _folder(tmp_path / "set", [nib.Nifti1Image(image, AFFINE)], mirrored)
  with pytest.raises(ValueError, match=r"a\.nii\.gz: the affines of image and label differ by"):
    nnunet_raw(folder).read("a")
  raw = nnunet_raw(folder, check_affine=False).read("a")
  np.testing.assert_array_equal(raw.label, label.T)


@pytest.mark.parametrize("codes", TURNS)
def test_a_prediction_is_scored_where_it_lies_in_the_world(tmp_path, codes):
  truth = _arrays()[1]
  found = np.where(np.indices(SHAPE)[0] < 4, truth, 0).astype(np.uint8)
  for name, image in (("p", _turned(found, codes)), ("r", nib.Nifti1Image(truth, AFFINE))):
    (tmp_path / name).mkdir()
    nib.save(image, tmp_path / name / "a.nii.gz")
  scores = evaluate(tmp_path / "p", tmp_path / "r", metrics=("dice",), workers=1)["cases"]["a"]
  for value in (1, 2):
    both, one = (found == value) & (truth == value), (found == value).sum() + (truth == value).sum()
    assert scores["dice"][str(value)] == pytest.approx(2 * both.sum() / one)


def test_probabilities_turn_with_their_prediction(tmp_path):
  truth = (_arrays()[1] > 0).astype(np.uint8)
  shares = np.random.default_rng(1).random(SHAPE, dtype=np.float32) * 0.5 + 0.4 * truth
  found = (shares > 0.5).astype(np.uint8)
  stored, turned = nib.Nifti1Image(found, AFFINE), _turned(found, "PIR")
  reference, areas = nib.Nifti1Image(truth, AFFINE), []
  for name, image, of in (("p", stored, shares), ("q", turned, None)):
    of = np.asanyarray(_turned(shares, "PIR").dataobj) if of is None else of
    for folder, kept in ((tmp_path / name, image), (tmp_path / f"{name}r", reference)):
      folder.mkdir()
      nib.save(kept, folder / "a.nii.gz")
    both = np.stack([1 - of.T, of.T], -1)
    np.savez(tmp_path / name / "a_probabilities.npz", probabilities=both)
    folders = tmp_path / name, tmp_path / f"{name}r"
    report = evaluate(*folders, metrics=("auc",), workers=1)
    areas.append(report["cases"]["a"]["auc"]["1"])
  assert areas[0] > 0.9
  assert areas[1] == pytest.approx(areas[0])
