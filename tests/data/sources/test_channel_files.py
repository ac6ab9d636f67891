"""Which files make which case, in training sets and at prediction."""

import pathlib

import pytest

from jaxseg.data.sources.channel_files import by_case, check_files, split_channel

CHANNELS = ("T1", "T2")


def paths(*names):
  return [pathlib.Path("scans") / name for name in names]


def names(cases):
  return {case: [file.name for file in files] for case, files in cases.items()}


def test_four_digits_at_the_end_are_a_channel():
  assert split_channel("a_b_0002") == ("a_b", 2)
  assert split_channel("visit_0001_0000") == ("visit_0001", 0)
  assert split_channel("a_002") == ("a_002", None)
  assert split_channel("_0001") == ("_0001", None)


def test_files_are_grouped_in_the_order_of_their_channels():
  found = by_case(paths("b_0001.nii", "a_0000.nii", "b_0000.nii", "a_0001.mha", "c.nii"))
  assert names(found) == {
    "a": ["a_0000.nii", "a_0001.mha"],
    "b": ["b_0000.nii", "b_0001.nii"],
    "c": ["c.nii"],
  }


def test_a_number_without_channel_0000_belongs_to_the_cases_name():
  found = by_case(paths("scan_1998.nii", "scan_1999.nii", "x_0001.nii"))
  assert list(found) == ["scan_1998", "scan_1999", "x_0001"]
  found = by_case(paths("scan_1998_0000.nii", "scan_1998_0001.nii", "scan_1999_0000.nii"))
  assert list(found) == ["scan_1998", "scan_1999"]


def test_where_every_image_is_numbered_one_without_a_channel_0000_keeps_its_case():
  found = by_case(paths("x_0001.nii", "y_0000.nii", "notes.nii"), numbered=True)
  assert names(found) == {"x": ["x_0001.nii"], "y": ["y_0000.nii"]}


@pytest.mark.parametrize("files", [["x.nii"], ["x_0000.nii"], ["x_0000.nii", "x_0001.nii"]])
def test_one_file_per_channel_or_one_with_all_is_taken(files):
  check_files("x", paths(*files), CHANNELS, "scans")


@pytest.mark.parametrize(
  "files",
  [
    ["x_0000.nii", "x_0002.nii"],
    ["x_0001.nii", "x_0002.nii"],
    ["x_0000.nii", "x_0001.nii", "x_0002.nii"],
    ["x.nii", "x_0000.nii", "x_0001.nii"],
    ["x_0001.nii"],
  ],
)
def test_gaps_and_wrong_numbers_are_told_with_the_files(files):
  with pytest.raises(ValueError, match=r"scans: case 'x' has .*\(T1, T2\), numbered 0000, 0001"):
    check_files("x", paths(*files), CHANNELS, "scans")


def test_a_lone_file_may_be_asked_to_be_one_of_several():
  with pytest.raises(ValueError, match=r"has the image files x_0000.nii; expected one per channel"):
    check_files("x", paths("x_0000.nii"), CHANNELS, "scans", lone=False)


@pytest.mark.parametrize("files", [["x.nii", "x.nii.gz"], ["x_0000.nii", "x_0000.png"]])
def test_two_files_of_one_name_are_no_two_channels(files):
  found = by_case(paths(*files))
  with pytest.raises(ValueError, match=r"'x' has .* and .*, several files of one name; keep the"):
    check_files("x", found["x"], CHANNELS, "scans")
