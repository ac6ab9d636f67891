import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.batch import Target
from jaxseg.losses import centre_crop_target, cross_entropy, deep_supervision
from jaxseg.losses.deep_supervision import level_weights, nearest


def test_weights_of_four_levels_are_nnunets():
  assert_close(level_weights(4, drop_last=True), (0.571429, 0.285714, 0.142857, 0), atol=1e-6)
  assert_close(level_weights(4), (0.533333, 0.266667, 0.133333, 0.066667), atol=1e-6)
  assert level_weights(1, drop_last=True) == (1.0,)


@pytest.mark.parametrize(
  ("old", "new"), [((8, 6), (4, 3)), ((9, 7), (5, 4)), ((7, 12, 5), (7, 3, 2)), ((5, 5), (5, 5))]
)
def test_nearest_takes_the_voxel_at_the_centre_for_any_ratio(old, new):
  labels = np.arange(2 * np.prod(old)).reshape(2, *old)
  # scipy's grid mode works with voxel centres too, but rounds halves down
  picked = [
    [int(np.floor((i + 0.5) * n / m)) for i in range(m)] for n, m in zip(old, new, strict=True)
  ]
  expected = labels[np.ix_(range(2), *picked)]
  np.testing.assert_array_equal(nearest(labels, new), expected)
  soft = np.random.default_rng(0).normal(size=(2, *old, 3)).astype(np.float32)
  np.testing.assert_array_equal(nearest(soft, new), soft[np.ix_(range(2), *picked)])


def test_nearest_agrees_with_scipy_where_no_centre_is_halfway():
  labels = np.random.default_rng(0).integers(0, 9, (1, 9, 15))
  expected = ndimage.zoom(labels[0], (1 / 3, 1 / 5), order=0, grid_mode=True, mode="nearest")
  np.testing.assert_array_equal(nearest(labels, (3, 3))[0], expected)


def test_deep_supervision_is_the_weighted_sum_over_resolutions():
  random = np.random.default_rng(0)
  labels = random.integers(0, 3, (2, 9, 8))
  weight = random.integers(0, 2, (2, 9, 8)).astype(np.float32)
  spaces = ((9, 8), (5, 4), (5, 2))
  logits = [random.normal(size=(2, *space, 3)).astype(np.float32) for space in spaces]
  value = jax.jit(deep_supervision(cross_entropy))(logits, Target(labels, weight))
  expected = 0
  for share, scores, (rows, columns) in zip((4 / 7, 2 / 7, 1 / 7), logits, spaces, strict=True):
    at = np.ix_(
      range(2),
      [int((i + 0.5) * 9 / rows) for i in range(rows)],
      [int((i + 0.5) * 8 / columns) for i in range(columns)],
    )
    logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    picked = -np.take_along_axis(logs, labels[at][..., None], -1)[..., 0]
    expected += share * (picked * weight[at]).sum() / weight[at].sum()
  assert_close(value, expected)


def test_a_dropped_level_is_not_computed():
  seen = []

  def loss(logits, target):
    seen.append((logits.shape[1:-1], target.labels.shape[1:]))
    return jnp.float32(1)

  logits = [np.zeros((1, n, n, 2), np.float32) for n in (8, 4, 2)]
  value = deep_supervision(loss, drop_last=True)(logits, Target(np.zeros((1, 8, 8), int)))
  assert seen == [((8, 8), (8, 8)), ((4, 4), (4, 4))]
  assert_close(value, 1)


def test_auxiliary_heads_fade_with_the_training_step():
  def loss(logits, target):
    return jnp.float32(logits.shape[1])  # 8, 4, 2: tells the levels apart

  logits = [np.zeros((1, n, n, 2), np.float32) for n in (8, 4, 2)]

  @jax.jit
  def value(step):
    total = deep_supervision(loss, weights=(1.0, 0.5, 3.0), auxiliary=lambda step: 1 - step / 10)
    return total(logits, Target(np.zeros((1, 8, 8), int), step=step))

  # 8 + (1 - step / 10) * (0.5 * 4 + 3 * 2)
  for step, expected in ((0, 16.0), (5, 12.0), (10, 8.0)):
    assert_close(value(step), expected)


def test_fixed_weights_are_one_per_head():
  logits = [np.zeros((1, n, n, 2), np.float32) for n in (8, 4)]
  with pytest.raises(ValueError, match=r"3 weights \(1, 1, 1\) for 2 levels"):
    deep_supervision(cross_entropy, weights=(1, 1, 1))(logits, Target(np.zeros((1, 8, 8), int)))


def test_every_array_of_a_target_is_resampled():
  def loss(logits, target):
    space = logits.shape[1:-1]
    assert target.labels.shape == (1, *space, 2)
    assert target.weight.shape == (1, *space)
    assert target.maps["distance"].shape == (1, *space, 2)
    return logits.sum()

  target = Target(np.zeros((1, 7, 6, 2)), np.ones((1, 7, 6)), {"distance": np.ones((1, 7, 6, 2))})
  deep_supervision(loss)([np.zeros((1, n, m, 2)) for n, m in ((7, 6), (4, 3))], target)


def test_centre_crop_leaves_the_voxels_that_valid_convolutions_see():
  labels = np.arange(2 * 8 * 7).reshape(2, 8, 7)
  target = Target(labels, labels + 0.5, {"distance": labels[..., None]})
  cropped = centre_crop_target(target, (4, 3))
  np.testing.assert_array_equal(cropped.labels, labels[:, 2:6, 2:5])
  np.testing.assert_array_equal(cropped.weight, labels[:, 2:6, 2:5] + 0.5)
  np.testing.assert_array_equal(cropped.maps["distance"], labels[:, 2:6, 2:5, None])
  with pytest.raises(ValueError, match=r"\(9, 3\) exceeds the labels' \(8, 7\)"):
    centre_crop_target(target, (9, 3))


@pytest.mark.parametrize("options", [{"auxiliary": 0.0}, {"weights": (1.0, 0.0)}])
def test_a_loss_of_heads_that_weigh_nothing_is_refused(options):
  with pytest.raises(ValueError, match=r"a loss of the coarser outputs has no effect beside"):
    deep_supervision(cross_entropy, auxiliary_loss=cross_entropy, **options)
  with pytest.raises(ValueError, match=r"weights \(0, 0\.0\), so that nothing would be learnt"):
    deep_supervision(cross_entropy, weights=(0, 0.0))


@pytest.mark.parametrize(
  "options",
  [{"drop_last": True}, {"decay": 0.3}, {"auxiliary": 0.5}, {"auxiliary_loss": cross_entropy}],
)
def test_an_option_of_heads_without_heads_is_refused(options):
  target = Target(np.zeros((1, 4, 4), int))
  with pytest.raises(ValueError, match=f"'{next(iter(options))}' is of the coarser outputs"):
    deep_supervision(cross_entropy, **options)([np.zeros((1, 4, 4, 2), np.float32)], target)
