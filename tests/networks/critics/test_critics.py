"""The contract of critics: scores of images and volumes, features, a gradient for the input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.networks.critics import CRITICS

OPTIONS = {"patch_critic": {"widths": (4, 8)}}


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", CRITICS)
def test_a_critic_scores_and_teaches(name, rank):
  net = CRITICS[name](**OPTIONS[name])
  x = np.random.default_rng(0).standard_normal((2, *(16,) * rank, 3)).astype(np.float32)
  variables = jax.jit(net.init)(jax.random.key(0), x)

  @jax.jit
  def judged(x):
    outputs = net.apply(variables, x)
    return outputs["score"].sum(), outputs

  (_, outputs), gradient = jax.value_and_grad(judged, has_aux=True)(jnp.asarray(x))
  score = outputs["score"]
  assert (len(score), score.shape[-1], score.dtype) == (2, 1, jnp.float32)
  assert len(outputs) > 1
  assert gradient.shape == x.shape
  assert np.isfinite(gradient).all()
  assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("name", CRITICS)
def test_a_critic_in_half_precision_scores_in_full(name):
  net = CRITICS[name](**OPTIONS[name], dtype=jnp.bfloat16)
  x = jnp.zeros((1, 16, 16, 2))
  outputs = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), x))[0]
  assert outputs["score"].dtype == jnp.float32
  assert outputs["stage1"].dtype == jnp.bfloat16
