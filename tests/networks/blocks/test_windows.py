"""Windows: reading order, the way back, sizes that don't fit."""

import numpy as np
import pytest

from jaxseg.networks.blocks.resample import interleave
from jaxseg.networks.blocks.windows import windows


def test_a_windows_voxels_are_in_reading_order():
  x = np.arange(2 * 4).reshape(1, 2, 4, 1)  # rows 0123 and 4567
  assert windows(x, (2, 2))[0, 0, :, :, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_interleave_puts_windows_back():
  x = np.random.default_rng(0).normal(size=(2, 4, 6, 2, 3))
  np.testing.assert_array_equal(interleave(windows(x, (2, 3, 1)), (2, 3, 1)), x)


def test_windows_that_do_not_tile_are_refused_in_words():
  with pytest.raises(
    ValueError, match=r"windows of \(2, 2\) voxels do not tile an array of \(4, 5"
  ):
    windows(np.zeros((1, 4, 5, 1)), 2)
