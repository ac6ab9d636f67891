"""Files that a run wrote tell when they were edited or damaged."""

import json

import pytest

from jaxseg import sealed
from jaxseg.runs import folder as run_folder


@pytest.fixture
def path(tmp_path):
  sealed.write(tmp_path / "a.json", {"steps": 3, "names": ("a", "b"), "score": float("nan")})
  return tmp_path / "a.json"


def read(path, **options):
  return sealed.read(path, what="a test's file", advice="copy it again", **options)


def edit(path, change):
  told = json.loads(path.read_text())
  change(told)
  path.write_text(json.dumps(told))


def test_what_was_written_is_read_and_may_be_laid_out_anew(path):
  assert read(path)["names"] == ["a", "b"]
  edit(path, lambda told: None)
  assert read(path, fields={"steps": int})["steps"] == 3


@pytest.mark.parametrize(
  ("change", "name"),
  [
    (lambda told: told.update(steps=4), "steps"),
    (lambda told: told.update(names=["b", "a"]), "names"),
    (lambda told: told.pop("steps"), "steps"),
    (lambda told: told.update(more=1), "more"),
    (lambda told: told["digests"].pop("names"), "names"),
  ],
)
def test_an_edited_field_is_named(path, change, name):
  edit(path, change)
  with pytest.raises(ValueError, match=rf"a.json: '{name}' is not what was written.*copy it"):
    read(path)


def test_a_reader_does_not_mind_what_it_does_not_use(path):
  edit(path, lambda told: told.update(steps=4))
  assert read(path, fields={"names": list}, only=True)["names"] == ["a", "b"]


def test_files_without_digests_and_damaged_digests(path):
  edit(path, lambda told: told.update(digests=[]))
  with pytest.raises(ValueError, match=r"a.json: its digests are damaged"):
    read(path)
  edit(path, lambda told: (told.pop("digests"), told.update(steps=4)))
  assert read(path)["steps"] == 4


def test_where_digests_are_required_a_file_without_them_is_damaged(path):
  assert read(path, required=True)["steps"] == 3
  for change in (lambda told: told.update(digests={}), lambda told: told.pop("digests")):
    edit(path, change)
    with pytest.raises(sealed.Damaged, match=r"a.json: its digests are damaged; copy it again\.$"):
      read(path, required=True)


LABELS = {"names": ["background", "a"], "stored_values": [0, 1]}
PREPARATION = {"channels": ["x"], "rank": 2, "normalisation": [{"name": "none"}]}


@pytest.mark.parametrize(
  ("field", "value", "words"),
  [
    ("labels", {}, "'labels': expected an object with 'names'"),
    ("labels", [], "'labels' is a list, expected an object"),
    ("labels", {**LABELS, "names": ["a"]}, "its 'names' are"),
    ("labels", {**LABELS, "names": "ab"}, "its 'names' are 'ab'"),
    ("labels", {**LABELS, "stored_values": ["0", 1]}, "its 'stored_values' are"),
    ("labels", {**LABELS, "stored_values": 3}, "its 'stored_values' are 3"),
    ("labels", {**LABELS, "regions": [0, 1]}, "its 'regions' are"),
    ("labels", {**LABELS, "ignore": "x"}, "its 'ignore' are 'x'"),
    ("labels", {**LABELS, "colours": 1}, "'colours' is no field"),
    ("channels", "x", "'channels' is a text, expected a list"),
    ("rank", None, "'rank' is null, expected a number"),
    ("preparation", {}, "'preparation': the preparation: lacks 'channels'"),
    ("preparation", {**PREPARATION, "blur": 1}, "unexpected keyword argument 'blur'"),
    ("preparation", {**PREPARATION, "rank": 3}, "channels and rank are not those"),
    ("preparation", {**PREPARATION, "normalisation": []}, "one scheme of normalisation"),
    ("preparation", {**PREPARATION, "normalisation": ["none"]}, "expected a dict with a 'name'"),
    ("preparation", {**PREPARATION, "spacing": 3}, "a field of it is wrong"),
    ("preparation", {**PREPARATION, "resampling": {"order": "x"}}, "resampling.order"),
  ],
)
def test_a_data_set_description_of_another_shape_is_one_sentence(tmp_path, field, value, words):
  told = {"labels": LABELS, "channels": ["x"], "rank": 2, "preparation": PREPARATION}
  config = {"network": {}, "method": {}, "data": {"source": {"name": "phantom"}, "patch": [8, 8]}}
  (tmp_path / "config.json").write_text(json.dumps(config))
  (tmp_path / "dataset.json").write_text(json.dumps(told))
  assert run_folder.describe(tmp_path).labels.names == ("background", "a")
  (tmp_path / "dataset.json").write_text(json.dumps({**told, field: value}))
  with pytest.raises(ValueError, match=r"dataset.json: ") as raised:
    run_folder.describe(tmp_path)
  assert words in str(raised.value)


@pytest.mark.parametrize(
  ("config", "words"),
  [
    ([], "holds a list, expected an object"),
    ({"data": {}, "network": "unet", "method": {}}, "'network' is a text, expected an object"),
    ({"data": {}, "network": None, "method": {}}, "'network' is null, expected an object"),
    ({"data": {"patch": 3}, "network": {}, "method": {}}, "'data.patch' is a number, expected"),
    ({"data": {}, "network": {}}, "lacks 'method'"),
    ({"data": {"source": {}}, "network": {}, "method": {}}, "lacks 'data.patch'"),
    ({"data": [], "network": {}, "method": {}}, "'data' is a list"),
    ({"data": {}, "network": {}, "method": {}, "steps": "9"}, "'steps' is a text"),
    ({"data": {}, "network": {}, "method": {}, "evaluate": {"every": None}}, "'evaluate.every' is"),
  ],
)
def test_a_config_of_another_shape_is_one_sentence(tmp_path, config, words):
  (tmp_path / "config.json").write_text(json.dumps(config))
  told = {"labels": LABELS, "channels": ["x"], "rank": 2, "preparation": PREPARATION}
  (tmp_path / "dataset.json").write_text(json.dumps(told))
  with pytest.raises(ValueError, match=r"config.json: ") as raised:
    run_folder.describe(tmp_path)
  assert words in str(raised.value)
