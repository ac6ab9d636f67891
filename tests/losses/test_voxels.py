"""What the losses share."""

import functools

import jax
import numpy as np
import pytest
from closeness import assert_close
from golden_inputs import A_LABELS, A_LOGITS, B_LABELS, B_LOGITS

from jaxseg.batch import Target
from jaxseg.losses import LOSSES, voxels


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


def test_a_softmax_over_one_channel_is_refused():
  with pytest.raises(ValueError, match="sigmoid=True"):
    LOSSES["dice"](A_LOGITS, Target(A_LABELS))


def test_class_weights_of_the_wrong_number_are_refused():
  with pytest.raises(ValueError, match="each of the 3 channels"):
    LOSSES["cross_entropy"](B_LOGITS, Target(B_LABELS), class_weights=(1, 2))
  with pytest.raises(ValueError, match="positive_weight needs sigmoid"):
    LOSSES["cross_entropy"](B_LOGITS, Target(B_LABELS), positive_weight=2)
