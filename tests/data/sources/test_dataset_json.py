"""dataset.json in every shape that tools and people write it: read, or refused in one sentence."""

import json

import pytest

from jaxseg.data.sources import dataset_json

GOOD = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "ball": 1}}


def spec(labels, **more):
  return dataset_json.label_spec({"labels": labels, **more}, "dataset.json")


def test_a_byte_order_mark_and_crlf_are_no_part_of_the_text(tmp_path):
  text = json.dumps(GOOD, indent=2).replace("\n", "\r\n")
  (tmp_path / "dataset.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
  assert dataset_json.read(tmp_path / "dataset.json") == GOOD


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (b"[]", "holds a list, expected an object"),
    (b"null", "holds null, expected an object"),
    (b'"labels"', "holds a text, expected an object"),
    (b"", "is damaged or no JSON .*line 1"),
    # Python 3.13 names the comma, older ones what comes after it
    (b'{\n"labels": {"a": 1},\n}', "is damaged or no JSON .*line [23]"),
    (b'{\n// channels\n"labels": 1}', "is damaged or no JSON .*line 2"),
    (b'{"labels": {"a": 1, "a": 2}}', "'a' occurs twice"),
    ('{"labels": 1}'.encode("utf-16"), "expected the description .* as UTF-8 text"),
  ],
)
def test_what_is_no_object_of_json_is_one_sentence(tmp_path, text, message):
  (tmp_path / "dataset.json").write_bytes(text)
  with pytest.raises(ValueError, match=rf"dataset\.json: .*{message}") as error:
    dataset_json.read(tmp_path / "dataset.json")
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("one", [1, 1.0, "1"])
def test_values_may_be_numbers_of_any_kind_that_are_whole(one):
  assert spec({"background": 0, "ball": one}).stored_values == (0, 1)


@pytest.mark.parametrize(
  ("labels", "message"),
  [
    (["background", "tumour"], 'needs "labels", for example'),
    ({}, 'needs "labels"'),
    (None, 'needs "labels"'),
    ({"background": 0, "ball": 1.5}, 'the value of "ball" is 1.5'),
    ({"background": 0, "ball": 2**31}, 'the value of "ball" is 2147483648'),
    ({"background": 0, "ball": True}, 'the value of "ball" is True'),
    ({"background": 0, "ball": None}, 'the value of "ball" is None'),
    ({"background": 0, "ball": {"value": 1}}, 'the value of "ball" is {'),
    ({"background": 0, "ball": "one"}, "the value of \"ball\" is 'one'"),
    ({"background": 0, "ball": 1, "ignore": "high"}, 'the "ignore" label\'s value is'),
    ({"ball": 1, "box": 2}, "names no background"),
    ({"0": "background", "1": "lesion", "2": "lesion"}, 'two values the name "lesion"'),
    ({"background": 0, "whole": []}, r'region "whole" unites \[\]'),
    ({"background": 0, "whole": [1, "x"]}, 'a value of the region "whole" is'),
    ({"background": 0, "whole": [1, 2], "ignore": 2}, "the ignore label's not among them"),
  ],
)
def test_labels_that_say_no_values_are_told(labels, message):
  with pytest.raises(ValueError, match=rf"dataset\.json: .*{message}"):
    spec(labels, regions_class_order=[1])


@pytest.mark.parametrize("order", [None, 1, [1], {"0": 1}, ["a", "b"], [1, 7]])
def test_an_order_of_regions_that_does_not_fit_is_told(order):
  with pytest.raises(ValueError, match="regions_class_order"):
    spec({"background": 0, "whole": [1, 2], "core": [2]}, regions_class_order=order)


@pytest.mark.parametrize("whole", [[1, 2], [2]])
def test_a_region_that_a_later_one_would_hide_is_told(whole):
  labels = {"background": 0, "core": [2], "whole": whole}
  with pytest.raises(ValueError, match=r'"whole" covers all of "core".*larger regions first'):
    spec(labels, regions_class_order=[2, whole[0]])
  spec({"background": 0, "whole": [1, 2], "core": [2]}, regions_class_order=[1, 2])


@pytest.mark.parametrize("name", [{"name": "CT"}, ["CT"], None, 1.5])
def test_a_channel_whose_name_is_none_is_told(name):
  with pytest.raises(ValueError, match=r'"channel_names".*expected a name in quotes'):
    dataset_json.channel_names({"channel_names": {"0": name}}, "dataset.json")


def test_labels_named_by_digits_are_no_decathlon_labels():
  assert spec({"0": 0, "7": 1}).names == ("0", "7")
  assert spec({"0": "background", "7": "organ"}).stored_values == (0, 7)
  assert spec({"0": "background", "1": "organ", "255": "ignore"}).ignore == 255


def test_channels_are_an_object_or_a_list():
  for told in ({"channel_names": {"0": "CT", "1": "PET"}}, {"modality": ["CT", "PET"]}):
    assert dataset_json.channel_names(told, "x") == ("CT", "PET")
  ten = {str(i): f"c{i}" for i in range(11)}
  assert dataset_json.channel_names({"modality": ten}, "x")[10] == "c10"


@pytest.mark.parametrize("channels", ["CT", [], [1], {"0": "CT", "2": "PET"}, {"7": "CT"}, 3])
def test_channels_that_are_not_counted_are_told(channels):
  with pytest.raises(ValueError, match=r'x: .*"channel_names"'):
    dataset_json.channel_names({"channel_names": channels}, "x")


@pytest.mark.parametrize("told", [".nii.gz", "nii.gz", ".NII.GZ"])
def test_the_ending_may_lack_its_dot_or_be_in_capitals(told):
  assert dataset_json.file_ending({"file_ending": told}, "x") == ".nii.gz"


@pytest.mark.parametrize("told", [None, 3, [".nii"], "", ".docx", "seg.nii.gz"])
def test_an_ending_that_cannot_be_read_is_told(told):
  with pytest.raises(ValueError, match=r'x: .*"file_ending"'):
    dataset_json.file_ending({"file_ending": told}, "x")
