"""Distillation of class confusion: golden values, and the formula written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses.class_confusion import confusion, confusion_distance

A = np.array([[[[2, 0], [0, 1]], [[1, -1], [-1, 2]]]], np.float32)
B = np.array([[[[1, 0], [0.5, 1]], [[0, 0], [-2, 1]]]], np.float32)
LABELS = Target(jnp.array([[[0, 1], [0, 1]]]))


def distance(a, b, labels=LABELS, others=LABELS, **options):
  sigmoid = options.get("sigmoid", False)
  confusions = (confusion(*of, sigmoid=sigmoid) for of in ((a, labels), (b, others)))
  return confusion_distance(*confusions, **options)


def kl(p, q):
  return np.sum(p * np.log(p / q))


def written_out(a, b, labels, others, temperature, classes):
  """The paper's formula, class by class, of those that both have."""
  found = []
  for c in range(classes):
    pair = []
    for logits, of in ((a, labels), (b, others)):
      if (of == c).any():
        scores = np.exp(logits[of == c].mean(0) / temperature)
        pair.append(scores / scores.sum())
    if len(pair) == 2:
      found.append((kl(*pair) + kl(*pair[::-1])) / 2)
  return np.mean(found) if found else 0.0


def test_golden_values():
  classes = [
    distance(A, B, LABELS._replace(weight=(LABELS.labels == c).astype(np.float32))) for c in (0, 1)
  ]
  np.testing.assert_allclose(classes, (0.063331, 0.001580), atol=1e-6)
  np.testing.assert_allclose(distance(A, B), 0.032455, atol=1e-6)


def test_it_is_symmetric_and_0_of_what_is_equal():
  assert distance(A, B) == distance(B, A)
  assert distance(A, A) == 0


def test_the_formula_for_many_classes_and_absent_ones():
  random = np.random.default_rng(0)
  a, b = (3 * random.standard_normal((2, 5, 4, 4)).astype(np.float32) for _ in range(2))
  labels = random.integers(0, 3, (2, 5, 4))  # class 3 is in none of the first
  others = random.choice([0, 2, 3], (2, 5, 4))  # class 1 in none of the second
  for temperature in (1.0, 2.0):
    value = distance(a, b, Target(labels), Target(others), temperature=temperature)
    assert_close(value, written_out(a, b, labels, others, temperature, 4), rtol=1e-5)


def test_an_absent_class_passes_no_gradient_on():
  """Compared with a uniform guess, as the released code does, it would."""
  only = Target(jnp.array([[[0, 0], [0, 0]]]))
  gradient = jax.grad(lambda a: distance(a, B, LABELS, only))(jnp.asarray(A))
  of_class = np.asarray(LABELS.labels)
  assert np.abs(gradient[of_class == 0]).max() > 0
  np.testing.assert_array_equal(gradient[of_class == 1], 0)


def test_without_a_common_class_it_is_0_with_a_gradient_of_0():
  one, other = (Target(jnp.full((1, 2, 2), c)) for c in (0, 1))
  value, gradient = jax.value_and_grad(lambda a: distance(a, B, one, other))(jnp.asarray(A))
  assert value == 0
  np.testing.assert_array_equal(gradient, 0)


def test_ignored_voxels_count_for_nothing():
  weight = jnp.array([[[1.0, 1.0], [0.0, 1.0]]])
  changed = A.copy()
  changed[0, 1, 0] = 50
  values = [distance(x, B, LABELS._replace(weight=weight)) for x in (A, changed)]
  assert values[0] == values[1] != distance(A, B)


def test_regions_are_compared_outcome_by_outcome():
  regions = jnp.stack([LABELS.labels == 0, jnp.ones((1, 2, 2))], -1).astype(jnp.float32)
  expected = []
  for c in range(2):
    inside = np.asarray(regions[..., c]) > 0
    p, q = (1 / (1 + np.exp(-x[inside].mean(0) / 2)) for x in (A, B))
    both = [np.stack([x, 1 - x]) for x in (p, q)]
    expected.append((kl(*both) + kl(*both[::-1])) / 2)
  of = Target(regions)
  assert_close(distance(A, B, of, of, sigmoid=True), np.mean(expected), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e4, 1e-8])
def test_the_gradient_is_finite_whatever_the_logits(scale):
  gradient = jax.grad(lambda a: distance(a, scale * B))(jnp.asarray(scale * A))
  assert np.isfinite(gradient).all()
