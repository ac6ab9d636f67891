"""Sources that are the same, by the places where their files lie."""

import pytest

from jaxseg.data.sources import places


def raw(path, **options):
  return {"name": "nnunet_raw", "path": str(path), **options}


@pytest.fixture
def home(tmp_path, monkeypatch):
  (tmp_path / "Dataset001_A").mkdir()
  (tmp_path / "link").symlink_to(tmp_path / "Dataset001_A")
  monkeypatch.chdir(tmp_path)
  return tmp_path


@pytest.mark.parametrize(
  "written", ["Dataset001_A", "Dataset001_A/", "x/../Dataset001_A/.", "link", "{home}/link/"]
)
def test_a_folder_is_one_place_in_all_spellings(home, written):
  ours, theirs = raw(home / "Dataset001_A"), raw(written.format(home=home), labelled=False)
  assert places.same_files(ours, theirs)
  assert places.same_set(ours, theirs)


def test_a_set_may_lie_elsewhere_under_its_own_name(home):
  moved = raw("/elsewhere/Dataset001_A")
  assert not places.same_files(raw("Dataset001_A"), moved)
  assert places.same_set(raw("Dataset001_A"), moved)
  assert places.same_set(raw("link"), moved)
  assert not places.same_set(raw("Dataset001_A"), raw("/elsewhere/Dataset002_B"))
  assert not places.same_set(raw("Dataset001_A"), raw("Dataset001_A") | {"name": "case_folders"})


def test_folders_of_images_and_masks_are_places_too(home):
  ours = {"name": "paired_folder", "images": "link", "masks": "link", "values": (0, 255)}
  theirs = ours | {"images": str(home / "Dataset001_A"), "values": [0, 255]}
  assert places.same_set(ours, theirs)
  assert not places.same_set(ours, theirs | {"masks": "masks"})
  assert dict(places.folders({"name": "translated", "source": ours, "run": "runs/a"})) == {
    "source.images": "link",
    "source.masks": "link",
  }


def test_translated_images_are_of_the_cases_that_they_are_made_of(home):
  made = {"name": "translated", "source": raw("link"), "run": "runs/a"}
  assert places.same_set(raw("Dataset001_A"), made)
  assert places.same_set(made, made | {"run": "runs/b"})
