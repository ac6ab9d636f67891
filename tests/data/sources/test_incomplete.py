"""Cases that lack channels: told, prepared as empty, and refused where nobody allowed them."""

import json

import nibabel as nib
import numpy as np
import pytest

from jaxseg.data import nnunet_raw, prepare
from jaxseg.data.sources.source import check_complete

SHAPE = (4, 5, 6)
CHANNELS = ("flair", "t1", "t1c")


def save(path, array):
  path.parent.mkdir(exist_ok=True, parents=True)
  nib.save(nib.Nifti1Image(np.moveaxis(array, (0, 1, 2), (2, 1, 0)), np.eye(4)), path)


def image(seed):
  return (1 + np.random.default_rng(seed).random(SHAPE)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
  """Case a has all, b no t1, c t1c alone."""
  root = tmp_path / "Dataset008_Few"
  root.mkdir()
  description = {
    "channel_names": {str(i): name for i, name in enumerate(CHANNELS)},
    "labels": {"background": 0, "tumour": 1},
    "file_ending": ".nii.gz",
  }
  (root / "dataset.json").write_text(json.dumps(description))
  for case, numbers in {"a": (0, 1, 2), "b": (0, 2), "c": (2,)}.items():
    for number in numbers:
      save(root / f"imagesTr/{case}_{number:04d}.nii.gz", image(number))
    save(root / f"labelsTr/{case}.nii.gz", (image(0) > 1.5).astype(np.uint8))
  return root


def test_a_channel_without_a_file_is_told_and_empty(folder):
  source = nnunet_raw(folder, incomplete=True)
  assert source.incomplete == {"b": ("t1",), "c": ("flair", "t1")}
  whole, few = source.read("a"), source.read("b")
  assert whole.missing == ()
  assert few.missing == (1,)
  np.testing.assert_array_equal(few.image, whole.image * (1, 0, 1))
  np.testing.assert_array_equal(source.read("c").modalities, [0, 0, 1])


def test_of_chosen_channels_only_these_count(folder):
  source = nnunet_raw(folder, channels=("t1c", "t1"), incomplete=True)
  assert source.incomplete == {"b": ("t1",), "c": ("t1",)}
  raw = source.read("c")
  assert raw.missing == (1,)
  np.testing.assert_array_equal(raw.image[..., 0], image(2))
  assert nnunet_raw(folder, channels=("t1c",), incomplete=True).incomplete == {}
  with pytest.raises(ValueError, match=r"case 'c' has no image of flair, t1; remove it"):
    nnunet_raw(folder, channels=("flair", "t1"), incomplete=True)


def test_they_are_refused_unless_they_are_allowed(folder):
  with pytest.raises(ValueError, match=r"case 'b' has the image files .*expected one per channel"):
    nnunet_raw(folder)


def test_files_that_are_listed_tell_no_numbers(folder):
  description = json.loads((folder / "dataset.json").read_text())
  description["training"] = []
  (folder / "dataset.json").write_text(json.dumps(description))
  with pytest.raises(ValueError, match=r"(?s)lists no training case|tells no channel's number"):
    nnunet_raw(folder, incomplete=True)


def test_the_prepared_set_tells_what_each_case_has(folder, tmp_path):
  source = nnunet_raw(folder, incomplete=True)
  prepared = prepare(source, cache_dir=tmp_path / "cache", workers=1)
  modalities = [prepared.load(i)["modalities"] for i in range(3)]
  np.testing.assert_array_equal(modalities, [[1, 1, 1], [1, 0, 1], [0, 0, 1]])
  few, part = prepared.load(1), prepared.crop(1, (0, 1, 2), (2, 2, 2))
  assert few["modalities"].dtype == part["modalities"].dtype == np.float32
  # not z-scored, but empty; the others are as in the whole case
  assert (few["image"][..., 1] == 0).all()
  np.testing.assert_array_equal(few["image"][..., 2], prepared.load(0)["image"][..., 2])
  np.testing.assert_array_equal(part["modalities"], modalities[1])
  whole = prepare(
    nnunet_raw(folder, channels=("t1c",), incomplete=True), cache_dir=tmp_path / "c", workers=1
  )
  assert "modalities" not in whole.load(0)


def test_what_needs_all_channels_says_so(folder):
  with pytest.raises(ValueError, match=r"^plan: case 'b' of 'Dataset008_Few' has no t1, and every"):
    check_complete(nnunet_raw(folder, incomplete=True), "plan")
