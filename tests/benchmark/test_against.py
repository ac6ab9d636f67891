import numpy as np
import pytest

from jaxseg.benchmark import against

MACHINE = {"cpu_model": "a", "cpu_cores": 2, "versions": {"jax": "1"}}
CONDITIONS = {"network": "unet", "dtype": "float32", "patch": [8, 8], "batch": 2, "devices": 1}


def row(times, label="", repeats=(), **conditions):
  training = {"each_step_seconds": list(times)}
  return {
    "label": label,
    "overrides": [],
    "failed": None,
    "conditions": {**CONDITIONS, **conditions},
    "training": training,
    "repeats": [{"each_step_seconds": list(of)} for of in repeats],
  }


def results(*rows, **machine):
  return {"machine": {**MACHINE, **machine}, "rows": list(rows)}


def times(median, noise=0.02, count=60, seed=0):
  return median * np.exp(noise * np.random.default_rng(seed).standard_normal(count))


def test_times_of_one_distribution_differ_in_about_the_share_of_cases_that_the_level_leaves():
  verdicts = [
    against.verdict(against.ratio([times(1, seed=2 * n)], [times(1, seed=2 * n + 1)]))
    for n in range(60)
  ]
  # 5 % of 60 are 3; more than 12 would be a chance of 1e-5
  assert sum(v != against.SAME for v in verdicts) <= 12


@pytest.mark.parametrize(("factor", "verdict"), [(0.9, "faster"), (1.1, "slower")])
def test_a_tenth_of_the_time_is_seen_beside_noise_of_two_percent(factor, verdict):
  compared = against.ratio([times(factor)], [times(1, seed=1)])
  assert against.verdict(compared) == verdict
  assert compared["low"] < factor < compared["high"]
  assert abs(compared["ratio"] - factor) < 0.02


def test_times_that_stay_slow_for_long_make_the_interval_wider_than_the_same_times_in_any_order():
  slow = np.r_[times(1, count=80), times(1.2, count=70, seed=3), times(1, count=10, seed=4)]
  mixed = np.random.default_rng(5).permutation(slow)
  steady = times(1, count=160, seed=6)
  wide, narrow = (against.ratio([x], [steady]) for x in (slow, mixed))
  assert wide["high"] - wide["low"] > 1.3 * (narrow["high"] - narrow["low"])


def test_two_processes_that_differ_by_few_percent_are_not_told_apart():
  # steps that hardly vary, as within one process
  compared = against.ratio([times(1.03, noise=0.003)], [times(1, noise=0.003, seed=1)])
  assert against.verdict(compared) == against.SAME
  compared = against.ratio([times(1.08, noise=0.003)], [times(1, noise=0.003, seed=1)])
  assert against.verdict(compared) == against.SLOWER


def test_rows_are_matched_by_what_they_are_of_and_others_are_told():
  ours = results(row(times(1), "a"), row(times(1), "b"), row(times(1), "c", batch=4))
  theirs = results(row(times(2), "a"), row(times(1), "c"), row(times(1), "d"))
  rows, notes = against.compare(ours, theirs)
  assert [(r["label"], r["verdict"]) for r in rows] == [("a", "faster")]
  assert notes == [
    "b: matches no row of the other results.",
    "c: matches no row of the other results.",
    "Only in the other results: c, d.",
    "How much processes of one program differ on this machine was not measured (--processes 2 "
    "does); taken as 2%.",
  ]


def test_processes_that_differ_are_no_difference_of_code_and_more_of_them_tell_more():
  random, wrong = np.random.default_rng(7), {1: 0, 4: 0}

  def measured(count):
    return [times(np.exp(0.1 * random.standard_normal()), 0.01, seed=n) for n in range(count)]

  widths = {}
  for count in wrong:
    for _ in range(40):
      rows = [row(first, f"{n}", rest) for n in range(8) for first, *rest in [measured(count)]]
      others = [row(first, f"{n}", rest) for n in range(8) for first, *rest in [measured(2)]]
      compared, _ = against.compare(results(*rows), results(*others))
      wrong[count] += sum(of["verdict"] != against.SAME for of in compared)
      widths[count] = np.mean([of["high"] - of["low"] for of in compared])
  # 5 % of 320 are 16, with a standard deviation of 4
  assert all(4 <= number <= 30 for number in wrong.values())
  assert widths[4] < 0.85 * widths[1]


def test_the_spread_of_processes_is_pooled_over_rows_and_told():
  # log medians 0 and 0.2, 0 and 0.1: squares 0.02 and 0.005 over one degree of freedom each
  rows = [
    row([1.0] * 9, "a", [[np.exp(0.2)] * 9]),
    row([1.0] * 9, "b", [[np.exp(0.1)] * 9]),
    row([1.0] * 9, "c"),
  ]
  between = against.spread(rows)
  assert between.share == pytest.approx((0.025 / 2) ** 0.5)
  assert between.freedom == 2
  _, notes = against.compare(results(*rows), results(*rows[2:]))
  assert notes[-1].startswith("Processes of one program differ by 11.2% here")
  # the geometric mean of an even number of processes
  compared = against.ratio([[1.0] * 9, [4.0] * 9], [[1.0] * 9])
  assert compared["ratio"] == pytest.approx(2)


def test_another_machine_and_other_versions_are_told_before_all_else():
  ours = results(row(times(1)))
  theirs = results(row(times(1)), cpu_model="b", versions={"jax": "2"})
  _, notes = against.compare(ours, theirs)
  assert notes[0].startswith("ANOTHER MACHINE: cpu_model a against b.")
  assert notes[1].startswith("Not the same software: versions")


def test_a_row_that_failed_is_told_and_compared_with_nothing():
  failed = {"label": "a", "overrides": [], "failed": "out of memory."}
  rows, notes = against.compare(results(failed), results(row(times(1), "a")))
  assert rows == []
  assert notes[0].startswith("a: has no step times, out of memory.")


def test_only_what_is_slower_beyond_doubt_is_above_a_limit():
  rows = [
    {"label": "a", "ratio": 1.2, "verdict": "slower"},
    {"label": "b", "ratio": 1.2, "verdict": "no difference"},
    {"label": "", "ratio": 1.04, "verdict": "slower"},
  ]
  assert against.above(rows, 1.05) == ["a"]
