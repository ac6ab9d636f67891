"""Equality of what float32 arithmetic gives, whatever the order in which a CPU sums."""

import numpy as np


def assert_close(found, expected, *, rtol: float = 1e-5, atol: float = 0.0, err_msg: str = ""):
  """Like NumPy's `assert_allclose`, but relative to the largest expected value of the array.

  What a sum loses to rounding is of the order of its terms, not of its value: an element near 0
  is as uncertain as its neighbours. `atol` is for what is expected to be 0 everywhere.
  """
  sizes = np.abs(np.asarray(expected, np.float64))
  largest = np.max(sizes, where=np.isfinite(sizes), initial=0.0)
  np.testing.assert_allclose(
    found, expected, rtol=rtol, atol=max(atol, rtol * largest), err_msg=err_msg
  )
