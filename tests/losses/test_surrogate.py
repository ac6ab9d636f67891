"""Surrogates of metrics: the curves' shape, the soft metrics they start at, boundaries."""

import itertools

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import surrogate as loss_of
from jaxseg.losses import tversky
from jaxseg.losses.surrogate import CURVES, control_points, curve, identity

THETA = (0.1, 0.6, 0.4, 0.2, 0.7, 0.3)
EVERYWHERE = np.linspace(0, 1, 401, dtype=np.float32)


def test_the_identity_is_where_auto_seg_loss_starts():
  assert_close(identity(), [0.25, 0.25, 1 / 3, 1 / 3, 0.5, 0.5] * 2)
  assert len(identity("boundary_f1", pieces=1)) == 8
  assert set(identity("boundary_f1", pieces=1)) == {0.5}
  points = control_points(identity()[:6])
  assert_close(points, [(0, 0), (0.25, 0.25), (0.5, 0.5), (0.75, 0.75), (1, 1)])
  for pieces in (1, 2, 3):
    assert_close(
      curve(EVERYWHERE, identity(pieces=pieces)[: 4 * pieces - 2]), EVERYWHERE, atol=1e-6
    )


def test_a_curve_is_that_of_its_control_points():
  # Bernstein's polynomials, followed by t, in double precision
  points = np.array(control_points(THETA))
  t = np.linspace(0, 1, 4001)[:, None]
  parts = [
    (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c for a, b, c in (points[:3], points[2:])
  ]
  x, y = np.concatenate(parts).T
  assert_close(curve(EVERYWHERE, THETA), np.interp(EVERYWHERE, x, y), atol=2e-6)


def test_curves_keep_the_truth_table_and_rise_whatever_theta():
  random = np.random.default_rng(0)
  several = [*random.random((40, 6)), *itertools.product((0.0, 1.0), repeat=6)]
  # the third piece begins nearer to 1 than single precision tells
  several.append((1.0, 0.0) * 5)
  for theta in several:
    values = np.asarray(curve(EVERYWHERE, theta))
    assert values[0] == 0
    assert_close(values[-1], 1, atol=1e-5)
    assert np.diff(values).min() > -1e-5
    assert np.isfinite(jax.vmap(jax.grad(lambda x, of=theta: curve(x, of)))(EVERYWHERE)).all()


def images(seed=0, space=(9, 8)):
  random = np.random.default_rng(seed)
  logits = 2 * random.normal(size=(2, *space, 2)).astype(np.float32)
  return logits, (random.random((2, *space)) > 0.6).astype(np.int32)


def test_at_the_identity_it_is_soft_dice_and_iou_of_the_batch():
  logits, labels = images()
  for metric, weight in (("dice", 0.5), ("iou", 1.0)):
    known = tversky(logits, Target(labels), alpha=weight, beta=weight, batch=True)
    assert_close(loss_of(logits, Target(labels), metric=metric), known, atol=1e-5)


def counts(prediction, truth, first, second):
  """AND and OR, bent, of probabilities: (classes,)."""
  bent, other = (np.asarray(curve(prediction, of)) for of in (first, second))
  return (bent * truth).sum((0, 1, 2)), (other + truth - other * truth).sum((0, 1, 2))


def test_curves_bend_and_and_or():
  logits, labels = images()
  theta = (*THETA, *THETA[::-1])
  prediction = np.asarray(jax.nn.softmax(logits))
  shared, union = counts(prediction, np.eye(2)[labels], THETA, THETA[::-1])
  expected = {
    "iou": 1 - (shared / union).mean(),
    "dice": 1 - (2 * shared / (shared + union)).mean(),
  }
  for metric, value in expected.items():
    assert_close(loss_of(logits, Target(labels), metric=metric, theta=theta), value, atol=1e-5)


def certain(labels, size=1e3):
  return np.where(labels[..., None] == np.arange(2), size, -size).astype(np.float32)


SQUARE = np.zeros((1, 12, 12), np.int32)
SQUARE[:, 3:9, 3:9] = 1


@pytest.mark.parametrize("metric", CURVES)
def test_a_perfect_mask_has_no_loss_and_a_shifted_one_more_the_farther(metric):
  losses = [
    float(loss_of(certain(np.roll(SQUARE, by, 1)), Target(SQUARE), metric=metric, width=1))
    for by in (0, 2, 3)
  ]
  assert losses[0] < 1e-4
  assert losses[0] < losses[1] < losses[2]


def test_the_boundary_f1_of_hard_masks_is_that_of_their_boundaries():
  from scipy import ndimage

  shifted = np.roll(SQUARE, 2, 1)

  def edge(mask):
    # beyond the image counts as inside
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), border_value=1)

  scores = []
  for k in (0, 1):
    a, b = (edge(of[0] == k) for of in (shifted, SQUARE))
    near = [ndimage.binary_dilation(of, np.ones((3, 3))) for of in (a, b)]
    precision, recall = (a & near[1]).sum() / a.sum(), (b & near[0]).sum() / b.sum()
    scores.append(2 * precision * recall / (precision + recall))
  value = loss_of(certain(shifted), Target(SQUARE), metric="boundary_f1", width=1)
  assert_close(value, 1 - np.mean(scores), atol=1e-4)


def test_boundary_iou_looks_no_farther_than_its_width():
  # the far corner is wrong, which only a wide band sees
  wrong = SQUARE.copy()
  wrong[:, 0, 0] = 1
  narrow, wide = (
    float(loss_of(certain(wrong), Target(SQUARE), metric="boundary_iou", width=width))
    for width in (1, 5)
  )
  assert narrow < 1e-4 < wide


def test_volumes_have_boundaries_too():
  volume = np.repeat(SQUARE[:, None], 5, 1)
  for metric in ("boundary_iou", "boundary_f1"):
    assert float(loss_of(certain(volume), Target(volume), metric=metric, width=1)) < 1e-4
    moved = np.roll(volume, 3, 2)
    assert float(loss_of(certain(moved), Target(volume), metric=metric, width=1)) > 0.1


def test_what_is_no_theta_is_refused_in_words():
  logits, labels = images()
  for options, words in (
    ({"theta": (0.5,) * 5}, "theta has 5 numbers; expected 4, 12, 20"),
    ({"theta": (0.5,) * 8}, "theta has 8 numbers"),
    ({"theta": (1.5,) * 12}, "expected numbers from 0 to 1"),
    ({"metric": "hd95"}, "metric is 'hd95'; expected one of dice, iou"),
    ({"width": -1}, "width is -1"),
  ):
    with pytest.raises(ValueError, match=words):
      loss_of(logits, Target(labels), **options)
