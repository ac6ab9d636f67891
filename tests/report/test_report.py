"""The report of hand-written run folders: numbers, page, and what is refused."""

import csv
import html.parser
import json
import math
import pathlib
import re
import shutil
import sys

import pytest

from jaxseg.evaluation.reporting import harmless
from jaxseg.report.gather import gather
from jaxseg.report.page import example_cases
from jaxseg.verbs import report

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import scored_runs

FIRST = {"case_a": (0.9, 0.5), "case_b": (0.7, None)}
SECOND = {"case_c": (0.5, 0.8), "case_d": (0.1, 0.6), "case_e": (0.6, 0.1)}


@pytest.fixture
def folds(tmp_path):
  scored_runs.write(tmp_path / "cv" / "fold_0", FIRST, fold=0)
  scored_runs.write(tmp_path / "cv" / "fold_1", SECOND, fold=1)
  return tmp_path / "cv"


def test_numbers_over_cases_and_over_folds_are_those_of_hand_calculation(folds):
  told = report.report(folds)
  # dim: 0.9 0.7 | 0.5 0.1 0.6; bright: 0.5 - | 0.8 0.6 0.1
  assert told["mean"]["dice"]["dim"] == pytest.approx(2.8 / 5)
  assert told["mean"]["dice"]["bright <b>"] == pytest.approx(2.0 / 4)
  assert told["foreground"]["dice"] == pytest.approx((0.56 + 0.5) / 2)
  assert told["counts"]["dice"] == {"dim": 5, "bright <b>": 4}
  assert told["folds"]["fold_0"]["dice"]["dim"] == pytest.approx(0.8)
  assert told["folds"]["fold_1"]["dice"]["dim"] == pytest.approx(0.4)
  over = told["over_folds"]["dice"]["dim"]
  # of 0.8 and 0.4: mean 0.6, and the root of (0.2^2 + 0.2^2) / 1
  assert over["mean"] == pytest.approx(0.6)
  assert over["std"] == pytest.approx(math.sqrt(0.08))
  low, high = told["interval"]["dice"]["dim"]
  assert 0.1 <= low < 0.56 < high <= 0.9
  spread = [(v - 0.56) ** 2 for v in (0.9, 0.7, 0.5, 0.1, 0.6)]
  assert told["std"]["dice"]["dim"] == pytest.approx(math.sqrt(sum(spread) / 4))


def test_files_hold_the_same_numbers(folds):
  report.report(folds)
  told = json.loads((folds / "report" / "report.json").read_text(encoding="utf-8"))
  assert told["mean"]["dice"]["dim"] == pytest.approx(0.56)
  assert told["cases"]["case_b"]["dice"]["bright <b>"] is None
  rows = list(csv.DictReader((folds / "report" / "report.csv").open()))
  (row,) = [r for r in rows if (r["metric"], r["label"]) == ("dice", "dim")]
  assert float(row["mean"]) == pytest.approx(0.56)
  assert float(row["fold_1"]) == pytest.approx(0.4)
  cases = list(csv.DictReader((folds / "report" / "cases.csv").open()))
  assert len(cases) == 10
  assert cases[3] == {
    "fold": "fold_0",
    "case": "case_b",
    "label": "bright <b>",
    "dice": "",
    "hd95": "1.0",
  }


class Links(html.parser.HTMLParser):
  """Collects what a page refers to, and checks that its tags match."""

  def __init__(self):
    super().__init__()
    self.links, self.open, self.alternatives, self.text = [], [], [], []

  def handle_starttag(self, tag, attributes):
    self.links += [value for name, value in attributes if name in ("src", "href", "data", "srcset")]
    self.alternatives += [value for name, value in attributes if name == "alt"]
    if tag not in ("meta", "img", "link", "br"):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)


def test_the_page_is_whole_and_refers_to_nothing_outside(folds):
  report.report(folds)
  text = (folds / "report" / "report.html").read_text(encoding="utf-8")
  page = Links()
  page.feed(text)
  assert page.open == []
  assert page.links
  assert all(link.startswith("data:image/") for link in page.links)
  assert not re.search(r"@import|url\(", text)
  for word in ("case_e", "fold 1", "unet", "phantom", "95 % interval", "worst", "0.560"):
    assert word in text
  # names come from users' files
  assert "bright <b>" not in text
  assert "bright &lt;b&gt;" in text


def test_a_case_name_of_a_users_file_is_text_wherever_it_stands(tmp_path):
  name = """a" onload='x' <i>&"""
  scored_runs.write(tmp_path / "run", {name: (0.9, 0.5)}, network={"name": "<u>"})
  report.report(tmp_path / "run")
  text = (tmp_path / "run/report/report.html").read_text(encoding="utf-8")
  assert "<i>" not in text
  assert "<u>" not in text
  page = Links()
  page.feed(text)
  assert f"best dim: {name}" in page.alternatives
  assert name in page.text
  assert "run: <u> on phantom" in page.text


@pytest.mark.parametrize(
  ("evaluate", "judge"),
  [
    ({}, "dice"),
    ({"metrics": ["hd95", "dice"]}, "hd95"),
    ({"metrics": ["hd95", "dice"], "best": "dice"}, "dice"),
  ],
)
def test_cases_are_ranked_by_what_judged_the_best_checkpoint(tmp_path, evaluate, judge):
  folder = scored_runs.write(tmp_path / "run", {"a": (0.5, 0.5)}, evaluate=evaluate)
  assert gather(folder).judge == judge


def test_best_median_and_worst_leave_out_cases_without_the_class():
  cases = {name: {"dice": {"x": value}} for name, value in
           {"a": 0.2, "b": math.nan, "c": 0.9, "d": 0.5}.items()}  # fmt: skip
  assert example_cases(cases, "x", "dice") == [("best", "c"), ("median", "d"), ("worst", "a")]
  assert example_cases({"b": cases["b"]}, "x", "dice") == []
  assert example_cases({"a": cases["a"]}, "x", "dice") == [("best", "a")]


def test_a_run_alone_is_reported_too(folds):
  told = report.report(folds / "fold_1")
  assert told["mean"]["dice"]["dim"] == pytest.approx(0.4)
  assert math.isnan(told["over_folds"]["dice"]["dim"]["std"])
  assert (folds / "fold_1" / "report" / "report.html").is_file()


def test_an_unfinished_fold_is_left_out_and_told(tmp_path, capsys):
  scored_runs.write(tmp_path / "cv" / "fold_0", FIRST, fold=0)
  scored_runs.write(tmp_path / "cv" / "fold_1", SECOND, fold=1, complete=False)
  report.main([str(tmp_path / "cv")])
  shown = capsys.readouterr().out
  assert "Not finished, left out: fold_1." in shown
  assert "2 case(s)" in shown


def test_a_copy_of_a_fold_is_no_fold(folds):
  shutil.copytree(folds / "fold_0", folds / "fold_0_old")
  assert list(report.report(folds)["folds"]) == ["fold_0", "fold_1"]


def test_scores_of_a_shorter_training_do_not_count_for_the_longer_one(folds):
  path = folds / "fold_1" / "config.json"
  path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"steps": 8}))
  assert "of step 7, training to step 8 was interrupted" in refused(folds / "fold_1")
  told = report.report(folds)
  assert told["missing"] == ["fold_1"]
  assert told["mean"]["dice"]["dim"] == pytest.approx(0.8)


def test_folds_that_were_never_begun_are_told_by_the_default_of_five(folds):
  for path in folds.glob("*/config.json"):
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["data"]["split"]["folds"]
    path.write_text(json.dumps(config))
  assert report.report(folds)["missing"] == ["fold_2", "fold_3", "fold_4"]


def test_folds_differ_by_a_default_that_only_one_of_them_names_and_are_alike(folds):
  path = folds / "fold_1" / "config.json"
  config = json.loads(path.read_text(encoding="utf-8"))
  config["optimiser"]["accumulate"], config["average"] = 1, 0.0
  config["evaluate"] = {"probabilities": True}
  path.write_text(json.dumps(config))
  assert report.report(folds)["missing"] == []
  config["optimiser"]["accumulate"] = 2
  path.write_text(json.dumps(config))
  assert "config.optimiser.accumulate was 1 in fold_0, is 2" in refused(folds)


def test_without_pictures_and_with_half_a_line_of_curves_the_numbers_are_told(folds):
  shutil.rmtree(folds / "fold_0" / "validation" / "views")
  with (folds / "fold_0" / "metrics.jsonl").open("a") as file:
    file.write('{"step": 3, "lo')
  assert report.report(folds)["mean"]["dice"]["dim"] == pytest.approx(2.8 / 5)
  text = (folds / "report" / "report.html").read_text(encoding="utf-8")
  assert "No picture: the run folder has lost it." in text
  assert 'alt="worst dim: case_d"' in text


def test_the_headline_is_rounded_not_cut(tmp_path):
  scored_runs.write(tmp_path / "run", {"a": (0.8, 0.9995)})
  report.report(tmp_path / "run")
  # (0.8 + 0.9995) / 2 = 0.89975
  assert "<b>0.900</b><span>mean Dice" in (tmp_path / "run/report/report.html").read_text(
    encoding="utf-8"
  )


def refused(folder) -> str:
  with pytest.raises(SystemExit) as ended:
    report.main([str(folder)])
  return ended.value.code


def test_no_run_is_one_sentence(tmp_path):
  assert "holds no run (config.json) and no folds" in refused(tmp_path / "nothing")


def test_a_run_without_validation_scores_is_one_sentence(folds):
  (folds / "fold_0" / "validation" / "scores.json").unlink()
  assert "the run has no validation scores" in refused(folds / "fold_0")


def test_scores_that_are_no_scores_are_one_sentence(folds):
  (folds / "fold_0" / "validation" / "scores.json").write_text("[1]")
  assert "scores.json: holds a list, expected an object; give the train" in refused(folds)


def test_folds_of_different_configs_are_refused_by_the_field(folds):
  scored_runs.write(folds / "fold_2", {"z": (1, 1)}, fold=2, network={"name": "vnet"})
  told = refused(folds)
  assert "fold_2: config.network.name was 'unet' in fold_0, is 'vnet'; folds of" in told


def test_a_case_held_out_twice_is_refused(folds):
  scored_runs.write(folds / "fold_2", {"case_a": (1, 1)}, fold=2)
  assert "case 'case_a' was held out in fold_0 too" in refused(folds)


def test_scores_of_another_run_are_refused(folds):
  one, other = (folds / name / "validation" / "scores.json" for name in ("fold_0", "fold_1"))
  first = one.read_text()
  one.write_text(other.read_text())
  other.write_text(first)
  assert "fold_0/validation: holds case 'case_c', which this run did not hold out" in refused(folds)


def test_a_fold_that_is_a_link_keeps_its_name(folds):
  (folds / "fold_1").rename(folds / "elsewhere")
  (folds / "fold_1").symlink_to(folds / "elsewhere")
  assert [fold.name for fold in gather(folds).folds] == ["fold_0", "fold_1"]
  assert "fold_1" not in gather(folds).missing


def test_a_damaged_picture_or_row_never_stops_a_report(folds, capsys):
  whole = report.report(folds)
  views = folds / "fold_0" / "validation" / "views"
  for file, cut in zip(sorted(views.glob("*.npz")), (b"", b"PK\x03\x04 cut"), strict=False):
    file.write_bytes(cut)
  curves = folds / "fold_1" / "metrics.jsonl"
  curves.write_bytes(b"\xff\n3\n{}\n" + curves.read_bytes())
  cut = folds / "fold_0" / "metrics.jsonl"
  cut.write_bytes(cut.read_bytes().splitlines(keepends=True)[0])
  capsys.readouterr()
  assert json.dumps(report.report(folds)) == json.dumps(whole)
  lines = capsys.readouterr().err.splitlines()
  assert sum("is damaged" in line and ".npz" in line for line in lines) == len(lines) - 2 > 0
  assert any(
    "metrics.jsonl: ends at step 1 of 7; the curves lack the rest" in line for line in lines
  )
  assert any("metrics.jsonl: line 1 is no row of metrics" in line for line in lines)
  page = (folds / "report" / "report.html").read_text(encoding="utf-8")
  assert "No picture: its file is damaged." in page


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("config.json", "{"),
    ("dataset.json", '{"rank": 2}'),
    ("versions.json", "{}"),
    ("versions.json", None),
    ("validation/scores.json", '{"step": 7}'),
    ("validation/scores.json", '{"step": 7, "complete": true, "labels": [], "cases": {}}'),
  ],
)
def test_a_damaged_file_of_a_fold_is_named(folds, name, text):
  file = folds / "fold_0" / name
  file.unlink() if text is None else file.write_text(text)
  assert f"{file}: " in refused(folds)


def test_names_of_cases_are_no_formulas_in_a_spreadsheet(tmp_path):
  names = ["=cmd|' /C calc'!A0", "+1+1", "-x", "@SUM(A1)", "-5", "plain"]
  scored_runs.write(tmp_path / "run", dict.fromkeys(names[1:4] + names[5:], (0.5, None)))
  report.report(tmp_path / "run")
  rows = list(csv.reader((tmp_path / "run" / "report" / "cases.csv").open(encoding="utf-8")))
  assert {row[1] for row in rows[1:]} == {"'+1+1", "'-x", "'@SUM(A1)", "plain"}
  assert {row[3] for row in rows[1:]} == {"0.5", ""}
  assert [harmless(name) for name in names[:1] + names[4:]] == ["'" + names[0], "-5", "plain"]
