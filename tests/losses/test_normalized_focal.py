"""Normalised focal loss: its gradient, and that a nearly right sample weighs as much as any."""

import jax
import numpy as np
from closeness import assert_close
from golden_inputs import B_LABELS, B_LOGITS

from jaxseg.batch import Target
from jaxseg.losses import normalized_focal


def test_no_gradient_passes_through_the_factor():
  logits = np.asarray(B_LOGITS, np.float64)
  share = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  truth = np.eye(3)[np.asarray(B_LABELS)]
  p = (share * truth).sum(-1)
  factor = 1 / ((1 - p) ** 2).sum()
  # of -(1 - p)^2 ln p by p, and of p by the logits
  slope = 2 * (1 - p) * np.log(p) - (1 - p) ** 2 / p
  expected = 0.5 * factor * (slope * p)[..., None] * (truth - share)
  gradient = jax.grad(normalized_focal)(B_LOGITS, Target(B_LABELS))
  assert_close(gradient, expected, atol=1e-5)


def test_each_sample_is_normalised_by_itself():
  one, other = np.asarray(B_LOGITS), 3 * np.asarray(B_LOGITS)
  both = np.concatenate([one, other]), np.concatenate([B_LABELS, B_LABELS])
  alone = [normalized_focal(of, Target(B_LABELS)) for of in (one, other)]
  assert_close(normalized_focal(both[0], Target(both[1])), np.mean(alone))
