"""Inference of whole cases: its parts, its windows, its network."""

import pytest
import tiny

from jaxseg.benchmark import inference, program
from jaxseg.inference.windows import window_starts


@pytest.mark.parametrize("rank", [2, 3])
def test_a_made_case_is_predicted_from_file_to_file(rank):
  measured = program.of_experiment(tiny.experiment(rank=rank))
  size = (20, 30, 24)[-rank:]
  told = inference.measure(measured, options={"case_size": size, "repeats": 2})
  assert tuple(told["case_shape"]) == size
  windows = 1
  for n in size:
    windows *= len(window_starts(n, 16, 0.5))
  assert told["windows"] == windows
  assert told["windows_per_call"] == 2
  assert told["case_seconds"]["repeats"] == 2
  assert tuple(told["parts_seconds"]) == inference.PARTS
  assert all(of > 0 for of in told["parts_seconds"].values())
  assert told["volumes_per_second_windows"] > told["volumes_per_second"]
  assert ("compiler_peak_bytes" in told) == (measured.layout.mesh.size == 1)
  assert "volumes/s" in inference.lines(told)[0][1]


def test_a_validation_case_is_predicted_with_mirror_images():
  run = tiny.experiment()
  measured = program.of_experiment(run)
  told = inference.measure(measured, options={"repeats": 1, "mirror": True})
  assert told["case"] == run.main.dataset.names[run.validation[0]]
  assert told["mirror_images"] == 4


def test_a_case_of_another_rank_is_refused():
  measured = program.of_experiment(tiny.experiment())
  with pytest.raises(ValueError, match="--case-size 8 8 8: has 3 axes; expected 2"):
    inference.measure(measured, options={"case_size": (8, 8, 8)})
