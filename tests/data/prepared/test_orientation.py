"""Training's orientation is remembered: what is stored otherwise is turned to it, and back."""

import itertools
import json
import warnings

import nibabel as nib
import numpy as np
import pytest

from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase, Source, prepare, read_image
from jaxseg.data.formats.geometry import Geometry, lies, orient, oriented, plain_geometry, restore
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.inference.segmentation import Configuration, segment

CODES = [
  "".join(letters)
  for order in itertools.permutations(("RL", "AP", "SI"))
  for letters in itertools.product(*order)
]
SIDES = LabelSpec(("background", "left", "right"), (0, 1, 2))
# not square, oblique by some degrees, of three sizes
SHAPE = (9, 11, 14)
TILT = nib.eulerangles.euler2mat(0.2, -0.1, 0.15)
AFFINE = nib.affines.from_matvec(TILT @ np.diag([1.1, 1.3, 2.0]), (-3, 8, 20))


def scan(number=0):
  """A scan stored as RAS: noise around a body without symmetry, in a frame of zeros."""
  random = np.random.default_rng(number)
  image = np.zeros((*SHAPE, 1), np.float32)
  image[1:8, 2:10, 1:12] = random.normal(100, 30, (7, 8, 11, 1))
  label = np.zeros(SHAPE, np.uint8)
  label[3:6, 4:8, 2:6], label[3:6, 4:8, 7:10] = 1, 2
  return RawCase(image, label, None, Geometry(AFFINE, SHAPE, "nifti"))


def stored_as(raw, code):
  return RawCase(
    orient(raw.image, raw.geometry, code),
    orient(raw.label, raw.geometry, code),
    None,
    oriented(raw.geometry, code),
  )


def source(cases):
  return Source("sides", tuple(cases), ("MR",), SIDES, 3, cases.get, f"{sorted(cases)}")


def sided(preparation):
  """A predictor that takes the bright half towards the first voxel of x for left."""

  def logits(case, *, into=None, progress=None):
    image = case.image[..., 0]
    x = np.linspace(-1, 1, image.shape[-1])
    z = np.linspace(0, 0.2, image.shape[0])[:, None, None]
    scores = np.stack([-image + z, image * 0.6 - x, image * 0.6 + x], -1).astype(np.float32)
    if into is None:
      return scores
    into((slice(None),) * 3, scores)
    return None

  return Configuration((preparation,), SIDES, logits)


def test_the_codes_are_all_48():
  assert len(set(CODES)) == 48


@pytest.mark.parametrize(
  "options",
  [
    {},
    {"crop_nonzero": True},
    {"transpose": (2, 0, 1)},
    {"spacing": (1.5, 1.2, 1.4), "transpose": (1, 0, 2), "crop_nonzero": True},
  ],
)
@pytest.mark.parametrize("probabilities", [False, True])
def test_a_scan_in_any_of_48_orientations_gives_the_same_segmentation(options, probabilities):
  preparation = Preparation(("MR",), 3, ({"name": "zscore"},), seen=("RAS",), **options)
  raw = scan()
  expected = segment([sided(preparation)], raw, probabilities=probabilities)
  assert {1, 2} <= set(np.unique(expected.labels))
  for code in CODES:
    turned = stored_as(raw, code)
    assert turned.geometry.axcodes == code
    found = segment([sided(preparation)], turned, probabilities=probabilities)
    back = restore(orient(found.labels, turned.geometry, "RAS"), raw.geometry, "RAS")
    np.testing.assert_array_equal(back, expected.labels, err_msg=code)
    if probabilities:
      shares = orient(found.probabilities, turned.geometry, "RAS")
      np.testing.assert_array_equal(shares, expected.probabilities, err_msg=code)


def test_training_cases_stored_alike_are_remembered(tmp_path):
  cases = {str(i): stored_as(scan(i), "LPS") for i in range(3)}
  dataset = prepare(source(cases), cache_dir=tmp_path)
  assert dataset.preparation.seen == ("LPS",)
  again = Preparation.from_json(dataset.preparation.to_json())
  assert again == dataset.preparation
  np.testing.assert_array_equal(dataset.load(1)["label"], cases["1"].label)
  other = scan(7).geometry
  assert again.facing(other) == "LPS"
  assert again.facing(cases["0"].geometry) == "stored"
  assert again.remark(other).startswith("stored as RAS, the training scans as LPS: turned to LPS")
  assert again.remark(cases["0"].geometry) == ""


def test_a_validation_case_stored_otherwise_is_turned_to_the_training_cases(tmp_path, capsys):
  cases = {str(i): scan(i) for i in range(3)}
  cases["2"] = stored_as(cases["2"], "PIL")
  dataset = prepare(source(cases), cache_dir=tmp_path, train_cases=("0", "1"))
  assert "stored as 1 x PIL, the training cases as 2 x RAS: turned to theirs" in (
    capsys.readouterr().out
  )
  assert dataset.preparation.seen == ("RAS",)
  np.testing.assert_array_equal(dataset.load(2)["label"], scan(2).label)
  alike = prepare(source({str(i): scan(i) for i in range(3)}), cache_dir=tmp_path / "alike")
  np.testing.assert_array_equal(dataset.load(2)["image"], alike.load(2)["image"])


def test_training_cases_that_differ_are_warned_of_and_stay_as_they_are(tmp_path):
  cases = {"0": scan(0), "1": stored_as(scan(1), "LPS"), "2": scan(2)}
  with pytest.warns(UserWarning, match=r"differ in orientation \(2 x RAS, 1 x LPS\).*'RAS'"):
    dataset = prepare(source(cases), cache_dir=tmp_path)
  np.testing.assert_array_equal(dataset.load(1)["label"], cases["1"].label)
  preparation = dataset.preparation
  assert preparation.seen == ("RAS", "LPS")
  assert [
    preparation.facing(stored_as(scan(), code).geometry) for code in ("RAS", "LPS", "ASL")
  ] == [
    "stored",
    "stored",
    "RAS",
  ]
  told = preparation.remark(stored_as(scan(), "ASL").geometry)
  assert told.startswith("stored as ASL, the training scans as RAS, LPS: turned to RAS")


def test_training_cases_that_tell_no_orientation_are_named(tmp_path, capsys):
  cases = {"0": scan(0), "1": scan(1)._replace(geometry=plain_geometry(SHAPE)), "2": scan(2)}
  assert prepare(source(cases), cache_dir=tmp_path).preparation.seen == ("RAS",)
  assert "'sides': case(s) without an orientation, left as stored: 1" in capsys.readouterr().out


def test_an_asked_for_orientation_warns_of_nothing(tmp_path):
  cases = {"0": scan(0), "1": stored_as(scan(1), "SAL")}
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    dataset = prepare(source(cases), cache_dir=tmp_path, orientation="LPS")
  expected = stored_as(scan(1), "LPS").label
  np.testing.assert_array_equal(dataset.load(1)["label"], expected)
  assert dataset.preparation.code == "LPS"


def test_files_without_an_orientation_are_left_as_they_are_and_told():
  preparation = Preparation(("MR",), 3, ({"name": "none"},), seen=("LPS",))
  plain = plain_geometry(SHAPE, (2.0, 1.3, 1.1))
  assert preparation.facing(plain) == "stored"
  assert "without an orientation in the file, taken for LPS" in preparation.remark(plain)
  flat = Preparation(("MR",), 2, ({"name": "none"},))
  assert flat.remark(plain_geometry((4, 5))) == ""


@pytest.mark.parametrize(("code", "axcodes"), [(0, ""), (1, "RAS")])
def test_a_nifti_without_codes_tells_no_orientation(tmp_path, code, axcodes):
  image = nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4))
  image.set_sform(np.eye(4) if code else None, code)
  image.set_qform(None, 0)
  nib.save(image, tmp_path / "x.nii.gz")
  assert read_image(tmp_path / "x.nii.gz")[1].axcodes == axcodes


def test_runs_from_before_turn_nothing():
  fields = json.loads(Preparation(("MR",), 3, ({"name": "none"},)).to_json())
  del fields["seen"]
  old = Preparation.from_json(json.dumps(fields))
  geometry = stored_as(scan(), "LPS").geometry
  assert old.facing(geometry) == "stored"
  assert old.remark(geometry) == ""


def test_training_files_without_an_orientation_are_remembered_as_such(tmp_path):
  cases = {str(i): scan(i)._replace(geometry=plain_geometry(SHAPE)) for i in range(2)}
  preparation = prepare(source(cases), cache_dir=tmp_path).preparation
  assert preparation.seen == ()
  told = preparation.remark(stored_as(scan(), "LPS").geometry)
  assert told.startswith("stored as LPS, while the training scans' files told no orientation")
  assert preparation.remark(plain_geometry(SHAPE)) == ""


@pytest.mark.parametrize(
  ("degrees", "turned"), [(30, False), (44.9, False), (45.1, False), (50, True), (90, True)]
)
def test_a_grid_between_two_orientations_has_both(degrees, turned):
  turn = nib.eulerangles.euler2mat(np.deg2rad(degrees))
  geometry = Geometry(nib.affines.from_matvec(turn, (0, 0, 0)), SHAPE, "nifti")
  assert lies(geometry, "RAS") is not turned
  assert (oriented(geometry, "RAS").shape != SHAPE) is turned


def test_a_sheared_grid_keeps_its_nearest_orientation():
  """A tilted gantry: slices shifted along y by more than half their distance."""
  affine = np.diag([0.8, 0.8, 3.0, 1.0])
  affine[1, 2] = 1.2
  geometry = Geometry(affine, SHAPE, "dicom")
  assert lies(geometry, "RAS")
  assert not lies(geometry, "RSA")
