"""What the losses share."""

import functools

import jax
import numpy as np
from closeness import assert_close

from jaxseg.losses import voxels


def test_log_complements_keep_their_digits():
  # 1 - p is e^-30 where p rounds to 1 in float32; equal largest logits have no complement near 0
  logits = np.array([[30, 0, -5], [2, 2, -1], [-1e4, 1e4, 0], [0.1, 0.2, 0.3]])
  wide = np.longdouble(logits)
  p = np.exp(wide - wide.max(-1, keepdims=True))
  others = p.sum(-1, keepdims=True) - p
  others[0, 0], others[2, 1] = np.exp(np.longdouble(-30)) + np.exp(np.longdouble(-35)), 1
  expected = np.log(others / p.sum(-1, keepdims=True))
  expected[2, 1] = -1e4
  found = jax.jit(functools.partial(voxels.log_complements, sigmoid=False))(
    logits.astype(np.float32)
  )
  # absolute where nearly nothing is taken away
  assert_close(found, expected.astype(float), atol=1e-7)
