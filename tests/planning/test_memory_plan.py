"""Batches and patches for a memory, by a peak that is known in closed form."""

import math

import pytest

from jaxseg.planning.memory_plan import MOST_BATCH, largest_batch, largest_patch, size


@pytest.mark.parametrize(
  ("text", "expected"),
  [("8GB", 8 * 10**9), ("24 GiB", 24 * 2**30), ("500MB", 5 * 10**8), ("1.5gb", 15 * 10**8)],
)
def test_a_size_is_read_with_its_unit(text, expected):
  assert size(text) == expected


@pytest.mark.parametrize("text", ["8", "GB", "-8GB", "8 apples", "0GB", "nanGB", "1KB", "9e99GB"])
def test_a_size_that_makes_no_sense_is_refused(text):
  with pytest.raises(ValueError, match="expected"):
    size(text)


def peak(batch, patch) -> int:
  return 1000 + 10 * batch * math.prod(patch)


@pytest.mark.parametrize(("memory", "expected"), [(1000, 0), (1640, 1), (1000 + 640 * 37 + 5, 37)])
def test_the_largest_batch_is_that_of_the_closed_form(memory, expected):
  assert largest_batch(peak, (8, 8), memory) == expected


def test_a_batch_has_an_end():
  assert largest_batch(lambda *_: 0, (8, 8), 10) == MOST_BATCH


def test_the_largest_patch_keeps_its_shape_in_steps_of_the_stride():
  memory = peak(2, (40, 80))
  assert largest_patch(peak, (64, 128), (8, 16), memory) == (40, 80)
  assert largest_patch(peak, (64, 128), (8, 16), memory - 1) == (32, 64)
  assert largest_patch(peak, (64, 128), (8, 16), 10) is None


def test_a_short_axis_has_one_step_at_least():
  assert largest_patch(peak, (4, 64), (4, 4), peak(2, (4, 32))) == (4, 32)
