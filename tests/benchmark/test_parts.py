"""All parts, measured once of a run of toy size."""

import jax
import numpy as np
import pytest
import tiny

from jaxseg.benchmark import compile as compile_part
from jaxseg.benchmark import parts, program, shares, table, training
from jaxseg.method import Method

OPTIONS = {"steps": 6, "seconds": 0.5, "measure_peak": False}


@pytest.fixture(scope="module")
def made():
  return program.of_experiment(tiny.experiment())


@pytest.fixture(scope="module")
def values(made):
  names = ("compile", "training", "memory", "flops", "shares")
  return parts.measure(made, names, OPTIONS)


def test_cold_and_warm_compilation_are_traced_lowered_and_compiled_apart(values):
  names = {"trace_seconds", "lower_seconds", "compile_seconds"}
  assert set(values["compile"]["cold"]) == set(values["compile"]["warm"]) == names
  # a stored program is read instead of being made
  assert values["compile"]["warm"]["compile_seconds"] < values["compile"]["cold"]["compile_seconds"]


def test_the_users_cache_is_in_use_again_after_the_compilation_was_timed(values):
  with compile_part._cache_in("/nowhere"):
    assert jax.config.jax_compilation_cache_dir == "/nowhere"
  assert jax.config.jax_compilation_cache_dir != "/nowhere"


def test_speeds_follow_from_the_median_step(values):
  of = values["training"]
  step = of["step_seconds"]
  assert step["p10"] <= step["median"] <= step["p90"]
  assert len(of["each_step_seconds"]) == step["steps"] <= OPTIONS["steps"]
  assert step["median"] == pytest.approx(np.median(of["each_step_seconds"]), rel=1e-3)
  assert of["images_per_second"] == pytest.approx(2 / step["median"])
  assert of["voxels_per_second"] == pytest.approx(2 * 16 * 16 / step["median"])
  assert of["images_per_second_per_device"] * jax.device_count() == of["images_per_second"]
  assert 0 <= of["data_wait_share"] < 1
  assert np.isfinite(of["loss"])


def test_times_of_several_processes_are_one_row_of_their_pooled_steps(values):
  of = values["training"]
  slow = {**of, "each_step_seconds": [10.0] * (len(of["each_step_seconds"]) + 1)}
  pooled = training.together(of, [slow])
  assert pooled["step_seconds"]["median"] == pooled["step_seconds"]["p90"] == 10
  assert pooled["images_per_second"] == pytest.approx(2 / 10)
  assert pooled["data_wait_share"] == of["data_wait_share"]
  assert "of 2 processes" in dict(training.lines(pooled))["step"]


def test_memory_is_the_compilers_and_holds_at_least_the_state(values):
  of = values["memory"]
  assert of["compiler"]["peak_bytes"] > of["state_bytes"] > 0
  assert of["process_peak_bytes"] > 2**20
  assert "device_peak_bytes" not in of  # a CPU counts none


def test_shares_and_their_remainder_are_the_whole_step(values):
  of = values["shares"]
  assert set(of["share"]) == {
    "sampling_and_augmentation",
    "forward",
    "backward",
    "update",
    "waiting_for_data",
    "remainder",
  }
  assert sum(of["share"].values()) == pytest.approx(1)
  assert sum(of["seconds"].values()) == pytest.approx(of["step_seconds"])
  assert of["seconds"]["forward"] > 0


def test_a_method_that_tells_no_gradient_norm_is_divided_less(made):
  def train_step(state, batch, key):
    state, metrics = made.run.method.train_step(state, batch, key)
    return state, {"other": metrics["loss"]}

  method = Method(made.run.method.init, train_step, made.run.method.apply)
  other = program.of_experiment(made.run._replace(method=method))
  of = shares.measure(other, options=OPTIONS)
  assert set(of["share"]) == {
    "sampling_and_augmentation",
    "forward_backward_update",
    "waiting_for_data",
    "remainder",
  }


def test_every_part_says_its_figures_in_lines(values):
  for name, of in values.items():
    lines = parts.part(name).lines(of)
    assert lines
    assert all(isinstance(word, str) for line in lines for word in line)


def test_a_row_is_shown_in_full_and_several_as_a_table(values):
  machine = {
    "cpu_model": "x",
    "cpu_cores": 2,
    "device_count": 1,
    "device_kind": "cpu",
    "platform": "cpu",
    "versions": {"jax": "1", "jaxlib": "1"},
    "python": "3",
    "xla_flags": "",
  }
  conditions = {
    "network": "unet",
    "dtype": "float32",
    "patch": [16, 16],
    "batch": 2,
    "devices": 2,
    "load_average_begin": 0.5,
    "load_average_end": None,
    "note": "CPU timings: ratios only",
  }
  row = {"label": "a", "failed": None, "conditions": conditions, **values}
  full = table.show({"machine": machine, "rows": [row]})
  assert "2 x 16x16 on 2 device(s)" in full
  assert "ratios only" in full
  assert "shares of a step" in full
  bad = {"label": "b", "failed": "out of memory."}
  both = table.show({"machine": machine, "rows": [row, bad]}).splitlines()
  assert both[-2].startswith("a ")
  assert both[-1] == "b  failed: out of memory."


def test_percentiles_are_of_the_times():
  assert training.spread([1.0, 2.0, 3.0]) == {"median": 2.0, "p10": 1.2, "p90": 2.8, "steps": 3}
