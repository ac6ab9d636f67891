"""Clicks to a quality by RITM's rules and without their quirk, areas, values after n prompts."""

import numpy as np
import pytest
from closeness import assert_close

from jaxseg.metrics.interaction import after, area_under, clicks_to

IOUS = ([0.5, 0.7, 0.86, 0.91], [0.2, 0.3, 0.4, 0.5])


def ritm(curves, quality, most=20):
  """RITM's compute_noc_metric: argmax of the first hit, else `most`; all with `most` are over."""
  numbers = []
  for curve in curves:
    hit = np.asarray(curve) >= quality
    numbers.append(int(np.argmax(hit)) + 1 if hit.any() else most)
  return numbers, [n == most for n in numbers]


def test_the_sheets_number_of_clicks():
  found = clicks_to(IOUS, 0.85)
  assert found.mean == 11.5
  np.testing.assert_array_equal(found.clicks, [3, 20])
  np.testing.assert_array_equal(found.failed, [False, True])


@pytest.mark.parametrize("quality", [0.8, 0.85, 0.9])
def test_clicks_are_ritms(quality):
  random = np.random.default_rng(0)
  curves = [np.sort(random.random(random.integers(1, 21))) for _ in range(50)]
  numbers, over = ritm(curves, quality)
  found = clicks_to(curves, quality, rule="ritm")
  np.testing.assert_array_equal(found.clicks, numbers)
  np.testing.assert_array_equal(found.failed, over)
  np.testing.assert_array_equal(clicks_to(curves, quality).clicks, numbers)


def test_a_case_that_the_last_click_solves_is_a_success_without_the_quirk():
  curves = [[0.5] * 19 + [0.95], [0.5] * 20, [0.5] * 20 + [0.95]]
  np.testing.assert_array_equal(clicks_to(curves, 0.9, rule="ritm").failed, [True, True, True])
  exact = clicks_to(curves, 0.9)
  np.testing.assert_array_equal(exact.failed, [False, True, True])
  np.testing.assert_array_equal(exact.clicks, [20, 20, 20])


def test_an_automatic_start_counts_as_no_click_and_quality_need_not_last():
  found = clicks_to(([0.9, 0.1], [0.1, 0.9, 0.2]), 0.9, first=0)
  np.testing.assert_array_equal(found.clicks, [0, 1])
  with_start = clicks_to(([0.2] * 20 + [0.95],), 0.9, first=0)
  np.testing.assert_array_equal(with_start.clicks, [20])
  assert not with_start.failed[0]


def test_the_value_after_some_prompts_stays_where_a_curve_ends():
  assert_close(after(IOUS, 1), [0.5, 0.2])
  assert_close(after(IOUS, 3), [0.86, 0.4])
  assert_close(after(([0.5, 0.7], [0.1, 0.2, 0.3]), 10, first=0), [0.7, 0.3])


def test_the_sheets_area_under_a_curve():
  curve = [0.6, 0.7, 0.75, 0.8, 0.85, 0.9]
  assert_close(area_under([curve]), [np.trapezoid(curve)])
  assert_close(area_under([curve]), [3.85])
  assert_close(area_under([curve], share=True), [0.77])
  assert_close(area_under([[1.0]]), [5.0])
  assert_close(area_under([[0.5, 1.0]], prompts=3, first=1), [0.75 + 1.0])


@pytest.mark.parametrize(
  ("run", "words"),
  [
    (lambda: clicks_to(IOUS, 0.9, rule="other"), "rule is 'other'; expected one of ritm, exact"),
    (lambda: clicks_to(IOUS, 85), "quality is 85; expected above 0, at most 1"),
    (lambda: clicks_to((), 0.9), "clicks_to: no curves"),
    (lambda: clicks_to(([],), 0.9), r"curve 0 is \[\]; expected one value per prompt"),
    (lambda: after(([0.5, np.nan],), 1), "after: curve 0 has the value nan; expected 0 to 1"),
    (lambda: after(([50.0],), 1), r"curve 0 has the value 50\.0"),
    (lambda: after(IOUS, 0), "0 prompts, but curves begin after 1"),
    (lambda: area_under(IOUS, prompts=1, first=1), "1 prompts, but curves begin after 1"),
    (lambda: clicks_to(IOUS, 0.9, first=-1), "first is -1; expected 0 or more"),
  ],
)
def test_what_cannot_be_is_refused(run, words):
  with pytest.raises(ValueError, match=words):
    run()
