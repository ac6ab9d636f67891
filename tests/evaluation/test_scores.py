"""The scores of a set of cases: what their means leave out, and what judges."""

import numpy as np

from jaxseg.evaluation.scores import Scores


def test_an_infinite_distance_judges_though_the_means_leave_it_out():
  near, far = {"hd95": {"a": 2.0, "b": 4.0}}, {"hd95": {"a": 4.0, "b": np.inf}}
  scores = Scores(("a", "b"), {"x": near, "y": far}, "hd95", [])
  assert scores.of("hd95") == {"a": 3.0, "b": 4.0}
  assert scores.mean == np.inf
  assert scores.scalars()["validation/hd95"] == np.inf
  undefined = {"hd95": {"a": 1.0, "b": np.nan}}
  assert Scores(("a", "b"), {"x": near, "y": undefined}, "hd95", []).mean == 2.75


def test_the_table_has_a_column_for_each_metric_however_large_its_numbers():
  cases = {"x": {"psnr": {"t2": 21.5}, "mse": {"t2": 123456.75}}}
  lines = Scores(("t2",), cases, "psnr", []).table().splitlines()
  assert [line.split() for line in lines[:3]] == [
    ["class", "psnr", "mse"],
    ["t2", "21.5000", "123456.7500"],
    ["mean", "21.5000", "123456.7500"],
  ]
