"""Non-local U-Net: the published count part by part, chunks that change nothing."""

import jax
import numpy as np
import pytest
from abstract import count, shapes
from closeness import assert_close

from jaxseg.networks import NonLocalUNet


def test_published_count_part_by_part():
  out, variables = shapes(NonLocalUNet(classes=4), 1, 32, 32, 32, 2)
  params = variables["params"]
  assert count(params) == 1_760_452
  assert count(params["bottom"]) == 66_048
  # query (transposed) and shortcut 27 128 64 each, key and value 128 64, out 64 64, four biases
  assert count(params["up2"]) == 2 * 27 * 128 * 64 + 2 * 128 * 64 + 64 * 64 + 4 * 64
  assert count(params["up1"]) == 27 * 64 * 32  # a plain transposed convolution
  assert out["bottleneck"].shape == (1, 8, 8, 8, 128)
  assert out["logits"].shape == (1, 32, 32, 32, 4)


def test_every_decoder_stage_can_attend():
  _, variables = shapes(NonLocalUNet(features=4, attention_ups=2), 1, 8, 8, 1)
  assert {"query", "key", "value", "out", "shortcut"} == set(variables["params"]["up1"])
  _, variables = shapes(NonLocalUNet(features=4, attention_ups=0), 1, 8, 8, 1)
  assert set(variables["params"]["up2"]) == {"kernel"}


def test_chunks_do_not_change_the_logits():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(1, 9, 7, 1)).astype(np.float32)
  net = NonLocalUNet(features=4, depth=2)
  _, variables = shapes(net, *x.shape)

  def draw(path, leaf):
    if path[-1].key == "var":
      return np.ones(leaf.shape, np.float32)
    return (0.3 * rng.normal(size=leaf.shape)).astype(np.float32)

  variables = jax.tree_util.tree_map_with_path(draw, variables)
  whole, parts = (
    jax.jit(NonLocalUNet(features=4, depth=2, chunk=chunk).apply)(variables, x)["logits"]
    for chunk in (1024, 7)
  )
  assert_close(whole, parts, atol=1e-5)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(depth=1), "two stages"),
    (dict(attention_ups=3), "3 stages have 0 to 2 decoder stages"),
    (dict(norm="layer"), "choices: batch"),
  ],
)
def test_bad_options_are_refused_in_words(options, message):
  with pytest.raises(ValueError, match=message):
    NonLocalUNet(**options)
