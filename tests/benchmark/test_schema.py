import json

import pytest

from jaxseg.benchmark import schema

ROW = {"label": "", "overrides": [], "failed": None, "identity": "a", "conditions": {}}


def test_results_are_read_as_they_were_written(tmp_path):
  results = schema.empty({"cpu_model": "x"})
  results["rows"].append(ROW)
  schema.write(tmp_path / "a.json", results)
  assert schema.read(tmp_path / "a.json", "--output") == results


def test_results_of_another_version_are_refused_in_a_sentence(tmp_path):
  path = tmp_path / "a.json"
  path.write_text(json.dumps(schema.empty({}) | {"version": 7}), encoding="utf-8")
  with pytest.raises(ValueError, match=r"^--against .*another version .*version 7 .*reads 1"):
    schema.read(path, "--against")


@pytest.mark.parametrize(
  ("content", "words"),
  [
    ({"steps": 3}, "no results of `jaxseg benchmark`"),
    ({"format": schema.FORMAT, "version": 1, "machine": {}}, "lacks 'rows'"),
    (schema.empty({}) | {"rows": [{"label": ""}]}, r"lacks 'rows\[0\]\.overrides'"),
    (schema.empty({}) | {"rows": [3]}, "holds a number"),
    (
      schema.empty({}) | {"rows": [{n: of for n, of in ROW.items() if n != "conditions"}]},
      r"lacks 'rows\[0\]\.conditions'",
    ),
  ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, content, words):
  path = tmp_path / "a.json"
  path.write_text(json.dumps(content), encoding="utf-8")
  with pytest.raises(ValueError, match=words):
    schema.read(path, "--output")


def test_a_digest_tells_values_apart_and_not_the_order_of_names():
  assert schema.digest({"a": 1, "b": 2}) == schema.digest({"b": 2, "a": 1})
  assert schema.digest({"a": 1}) != schema.digest({"a": 2})
