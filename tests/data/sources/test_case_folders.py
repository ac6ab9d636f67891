"""A folder for each case: patterns, regions, channels that a case lacks, and what is refused."""

import nibabel as nib
import numpy as np
import pytest

from jaxseg.data import case_folders
from jaxseg.data.sources.case_folders import folders_of_cases

SHAPE = (4, 5, 6)
OPTIONS = dict(
  channels=("flair", "t1c"),
  files=("*_flair.nii.gz", "{case}_t1c.nii.gz"),
  label="*_seg.nii.gz",
  names=("whole", "core"),
  values=((2, 1, 4), (1, 4)),
)


def save(path, array, affine=None):
  path.parent.mkdir(exist_ok=True, parents=True)
  voxels = np.moveaxis(array, (0, 1, 2), (2, 1, 0))
  nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)


def image(seed):
  return np.random.default_rng(seed).random(SHAPE).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
  for case in ("p10", "p2"):
    save(tmp_path / case / f"{case}_flair.nii.gz", image(0))
    save(tmp_path / case / f"{case}_t1c.nii.gz", image(1))
    save(tmp_path / case / f"{case}_seg.nii.gz", np.arange(120).reshape(SHAPE).astype(np.uint8) % 5)
    (tmp_path / case / "licence.txt").write_text("")
  (tmp_path / "notes.txt").write_text("")
  return tmp_path


def test_each_channel_has_its_file_and_regions_unite_values(folder):
  values = ((2, 1, 4, 3), (1, 4))
  source = case_folders(folder, **{**OPTIONS, "values": values})
  assert source.cases == ("p2", "p10")
  assert source.channels == ("flair", "t1c")
  assert source.incomplete == {}
  raw = source.read("p10")
  np.testing.assert_array_equal(raw.image, np.stack([image(0), image(1)], -1))
  inside, _ = source.labels.encode(raw.label)
  np.testing.assert_array_equal(inside[..., 0], raw.label > 0)
  np.testing.assert_array_equal(inside[..., 1], np.isin(raw.label, (1, 4)))
  assert source.labels.written == (2, 1)


def test_classes_have_a_value_each(folder):
  source = case_folders(
    folder, **{**OPTIONS, "names": ("background", "a", "b", "c", "d"), "values": (0, 1, 2, 3, 4)}
  )
  assert source.labels.regions is None
  assert source.labels.stored_values == (0, 1, 2, 3, 4)


def test_a_value_that_no_region_holds_is_told(folder):
  with pytest.raises(ValueError, match=r"p2_seg.nii.gz"):
    case_folders(folder, **OPTIONS).read("p2")


def test_a_lacking_file_is_refused_or_a_missing_channel(folder):
  (folder / "p2" / "p2_flair.nii.gz").unlink()
  with pytest.raises(
    ValueError, match=r"p2: no image matches '\*_flair.nii.gz'; .*incomplete=True"
  ):
    case_folders(folder, **OPTIONS)
  source = case_folders(folder, **OPTIONS, incomplete=True)
  assert source.incomplete == {"p2": ("flair",)}
  whole = {**OPTIONS, "values": ((2, 1, 4, 3), (1, 4))}
  raw = case_folders(folder, **whole, incomplete=True).read("p2")
  assert raw.missing == (0,)
  assert (raw.image[..., 0] == 0).all()
  np.testing.assert_array_equal(raw.image[..., 1], image(1))
  (folder / "p2" / "p2_t1c.nii.gz").unlink()
  with pytest.raises(ValueError, match="p2: holds no image of flair, t1c"):
    case_folders(folder, **OPTIONS, incomplete=True)


def test_labels_may_lack_or_not_be_looked_at(folder):
  (folder / "p2" / "p2_seg.nii.gz").unlink()
  with pytest.raises(ValueError, match=r"p2: no image matches '\*_seg.nii.gz'"):
    case_folders(folder, **OPTIONS)
  assert case_folders(folder, **OPTIONS, labelled="partly").unlabelled == {"p2"}
  bare = {name: of for name, of in OPTIONS.items() if name != "label"}
  assert case_folders(folder, **bare, labelled=False).read("p10").label is None


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(files=("*_flair.nii.gz",)), "1 patterns for the channels flair, t1c"),
    (dict(channels=("t1c", "t1c")), "a name of its own for each channel"),
    (dict(files=("*.nii.gz", "*_t1c*")), r"p10: 3 files match '\*.nii.gz' \(p10_flair"),
    (dict(label=None), "config.data.source.label: is missing"),
    (dict(values=((1, 2), 4)), r"config.data.source.values: .*a list of numbers for each region"),
    (dict(cases="q*"), r"no folder matches 'q\*'"),
  ],
)
def test_bad_options_are_told(folder, changes, message):
  with pytest.raises(ValueError, match=message):
    case_folders(folder, **{**OPTIONS, **changes})


def test_a_grid_of_another_place_is_refused(folder):
  moved = np.eye(4)
  moved[0, 3] = 5
  save(folder / "p2" / "p2_t1c.nii.gz", image(1), moved)
  with pytest.raises(ValueError, match=r"p2_t1c.nii.gz: the affines of image and channel differ"):
    case_folders(folder, **OPTIONS).read("p2")


def test_scans_to_predict_lie_in_folders_too(folder):
  (folder / "p2" / "p2_flair.nii.gz").unlink()
  (folder / "empty").mkdir()
  source = {"name": "case_folders", **OPTIONS}
  search = folders_of_cases(folder, source=source)
  assert search.cases["p10"].numbers == (0, 1)
  assert "no image matches" in search.cases["p2"].problem
  assert "no image matches" in search.cases["empty"].problem
  cases, notes = folders_of_cases(folder, source=source, missing=(0,))
  assert cases["p10"].numbers == cases["p2"].numbers == (1,)
  assert [file.name for file in cases["p2"].files] == ["p2_t1c.nii.gz"]
  assert "no image matches" in cases["empty"].problem
  assert notes == ()
