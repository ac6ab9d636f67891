"""Losses of images against the rules in NumPy, and what of a target they heed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.batch import Target
from jaxseg.losses import IMAGE_LOSSES
from jaxseg.losses.images import l1, l2, ssim
from jaxseg.metrics import image as metrics


def pair(shape=(2, 16, 15, 2), seed=0):
  random = np.random.default_rng(seed)
  true = random.normal(0, 1, shape).astype(np.float32)
  return true + random.normal(0, 0.5, shape).astype(np.float32), true


def test_l1_and_l2_are_means_over_voxels_that_count():
  made, true = pair()
  weight = (np.random.default_rng(1).random(true.shape[:-1]) < 0.5).astype(np.float32)
  difference = (made - true)[weight > 0]
  assert l1(made, Target(true, weight)) == pytest.approx(np.abs(difference).mean(), rel=1e-5)
  assert l2(made, Target(true, weight)) == pytest.approx((difference**2).mean(), rel=1e-5)
  assert l1(made, Target(true)) == pytest.approx(np.abs(made - true).mean(), rel=1e-5)
  assert l2(made, Target(true, weight * 0)) == 0


@pytest.mark.parametrize("shape", [(2, 16, 15, 2), (1, 12, 13, 14, 1), (2, 4, 15, 14, 1)])
def test_ssim_is_1_less_the_metric(shape):
  made, true = pair(shape)
  each = [
    metrics.ssim(made[b, ..., c], true[b, ..., c])
    for b in range(shape[0])
    for c in range(shape[-1])
  ]
  assert ssim(made, Target(true)) == pytest.approx(1 - np.mean(each), abs=2e-5)


@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_losses_fall_along_their_gradient_and_are_0_at_the_true_image(name):
  made, true = pair()
  loss = IMAGE_LOSSES[name]
  target = Target(jnp.asarray(true))
  both = jax.jit(jax.value_and_grad(loss))
  value, slope = both(jnp.asarray(made), target)
  assert np.isfinite(slope).all()
  assert both(made - 1e-2 * slope / np.abs(slope).max(), target)[0] < value
  assert both(jnp.asarray(true), target)[0] == pytest.approx(0, abs=1e-6)
  flat = Target(jnp.zeros_like(true))
  assert np.isfinite(both(jnp.asarray(made), flat)[1]).all()


def test_an_image_of_other_channels_is_refused():
  made, true = pair()
  with pytest.raises(ValueError, match="the target image has shape"):
    l1(made[..., :1], Target(true))
