"""Between two outputs: the fact sheet's values, and a second way to compute them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from golden_inputs import A_LOGITS, B_LABELS, B_LOGITS, T_LOGITS

from jaxseg import losses
from jaxseg.batch import Target
from jaxseg.losses import consistency
from jaxseg.schedules import resolve

B, T = (np.asarray(jax.nn.softmax(x, -1)) for x in (B_LOGITS, T_LOGITS))


def test_the_squared_difference_of_student_and_teacher():
  assert_close(jax.jit(consistency.squared_difference)(B, T), 0.201197)


def test_the_squared_difference_where_the_teacher_is_sure():
  """UA-MT's own script divides by 2, the number of its classes, whatever they are; we by k."""
  ramp = resolve({"name": "gaussian", "start": 0.75}, steps=100, where="method.threshold")
  limit = float(ramp(0)) * consistency.largest_entropy(3)
  assert_close(limit, 0.825810)
  sure = (consistency.entropy_map(T) < limit).astype(jnp.float32)
  np.testing.assert_array_equal(sure, [[[0, 1], [1, 1]]])
  assert_close(consistency.squared_difference(B, T, sure), 0.342300 * 2 / 3)


def test_where_no_voxel_counts_the_difference_is_0_and_so_is_its_gradient():
  weight = np.zeros((1, 2, 2), np.float32)
  value, gradient = jax.value_and_grad(consistency.squared_difference)(jnp.asarray(B), T, weight)
  assert value == 0
  assert not np.any(gradient)


def test_the_entropy_of_each_voxel():
  assert_close(jax.jit(consistency.entropy_map)(B).mean(), 0.705664)
  expected = -(B * np.log(B)).sum(-1)
  assert_close(consistency.entropy_map(B), expected)
  assert_close(consistency.entropy_map(np.full((1, 2, 4), 0.25)), np.full((1, 2), np.log(4)))
  assert_close(consistency.largest_entropy(4), np.log(4))
  assert_close(consistency.largest_entropy(4, sigmoid=True), np.log(2))
  # the loss of the same name is its mean
  assert_close(consistency.entropy_map(B).mean(), losses.entropy(B_LOGITS, Target(B_LABELS)))


def test_the_entropy_of_regions_is_the_mean_of_theirs():
  p = np.array([[0.5, 0.9]], np.float32)
  each = -(p * np.log(p) + (1 - p) * np.log(1 - p))
  assert_close(consistency.entropy_map(p, sigmoid=True), each.mean(-1))


def test_certainty_has_no_entropy_and_a_finite_gradient():
  p = jnp.array([[1.0, 0.0]])
  for sigmoid in (False, True):
    of = functools.partial(consistency.entropy_map, sigmoid=sigmoid)
    assert_close(of(p), np.zeros(1))
    assert np.isfinite(jax.grad(lambda p, of=of: of(p).sum())(p)).all()


def test_pseudo_labels_above_a_threshold():
  """FixMatch's values: teacher B, student T."""
  labels, weight = jax.jit(consistency.pseudo_labels)(B_LOGITS, threshold=0.7)
  np.testing.assert_array_equal(labels, [[[0, 1], [2, 0]]])
  assert_close(weight.mean(), 0.75)
  kept = losses.cross_entropy(T_LOGITS, Target(labels, weight))
  assert_close(kept, 1.725253)
  assert_close(kept * weight.mean(), 1.293940)


def test_without_a_threshold_all_pseudo_labels_count():
  """CPS's values, one network's labels for the other."""
  for a, b in ((B_LOGITS, T_LOGITS), (T_LOGITS, B_LOGITS)):
    labels, weight = consistency.pseudo_labels(b)
    assert weight.min() == 1
    assert_close(losses.cross_entropy(a, Target(labels, weight)), 1.819972)


@pytest.mark.parametrize(("threshold", "counts"), [(0.0, [1, 1, 1, 1]), (0.7, [1, 1, 0, 1])])
def test_pseudo_labels_of_regions(threshold, counts):
  labels, weight = consistency.pseudo_labels(A_LOGITS, threshold=threshold, sigmoid=True)
  np.testing.assert_array_equal(labels.ravel(), [1, 0, 1, 0])
  np.testing.assert_array_equal(weight.ravel(), counts)
  assert labels.dtype == weight.dtype == jnp.float32
  both = np.concatenate([A_LOGITS, np.full_like(A_LOGITS, 0.1)], -1)
  # a voxel counts where all of its regions are sure
  assert consistency.pseudo_labels(both, threshold=0.7, sigmoid=True)[1].max() == 0


def test_pseudo_labels_are_no_way_for_gradients():
  def of(logits):
    labels, weight = consistency.pseudo_labels(logits, threshold=0.7, sigmoid=True)
    return (labels[..., 0] * weight).sum()

  assert not np.any(jax.grad(of)(jnp.asarray(A_LOGITS)))
