"""Attention fusion: modalities that are missing get no attention, and have no influence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes, traced
from closeness import assert_close
from gradients import drawn

from jaxseg.networks import AttentionFusion
from jaxseg.networks.attention_fusion import positions
from jaxseg.networks.blocks.transformer import TransformerBlock

RNG = np.random.default_rng(6)
SMALL = dict(widths=(4, 6), depth=1, hidden=8, mlp=8, heads=2)


@pytest.mark.parametrize("size", [(9, 8), (6, 5, 7)])
@pytest.mark.parametrize("norm", ["instance", "none"])
def test_neither_content_nor_weights_of_a_missing_modality_have_any_influence(size, norm):
  net = AttentionFusion(classes=2, norm=norm, **SMALL)
  image = RNG.normal(size=(2, *size, 3)).astype(np.float32)
  image[0, ..., 1] = 0
  params = drawn(shapes(net, *image.shape)[1]["params"])
  own = ("encoder2", "embedding2", "intra2")
  changed = {
    name: jax.tree.map(lambda x: x + 1, of) if name.startswith(own) else of
    for name, of in params.items()
  }
  changed["modality"] = params["modality"] + np.array([[0], [1], [0]], np.float32)
  apply = jax.jit(lambda params: net.apply({"params": params}, image)["logits"])
  before, after = apply(params), apply(changed)
  np.testing.assert_array_equal(before[0], after[0])
  assert not np.allclose(before[1], after[1])


def test_hidden_tokens_change_no_others():
  block = TransformerBlock(2, 8)
  tokens = jnp.asarray(RNG.normal(size=(1, 5, 4)), jnp.float32)
  params = block.init(jax.random.key(0), tokens)
  bias = jnp.where(jnp.arange(5) < 3, 0.0, -1e30)[None, None, None]
  masked = block.apply(params, tokens, bias)
  assert_close(masked[:, :3], block.apply(params, tokens[:, :3]), atol=1e-6)


def test_positions_are_sines_of_each_axis():
  found = positions((3, 4), 9).reshape(3, 4, 9)
  # two numbers per axis and wave, the last feature is left
  for y in range(3):
    for x in range(4):
      expected = [
        *(wave(at * rate) for at in (y, x) for wave in (np.sin, np.cos) for rate in (1.0, 0.01)),
        0,
      ]
      assert_close(found[y, x], expected, atol=1e-6)


def test_tokens_of_every_modality_come_to_the_decoder():
  _, outputs = traced(AttentionFusion(**SMALL), 2, 9, 6, 4)
  assert outputs["bottleneck"].shape == (2, 5, 3, 4 * 8)


def test_bad_options_are_told():
  with pytest.raises(ValueError, match="attention_fusion: heads=3 do not divide hidden=8"):
    AttentionFusion(**{**SMALL, "heads": 3})
  with pytest.raises(ValueError, match=r"attention_fusion: classes=3, widths=\(4,\)"):
    AttentionFusion(**{**SMALL, "widths": (4,)})
  with pytest.raises(ValueError, match="attention_fusion: norm='batch' is unknown"):
    AttentionFusion(norm="batch", **SMALL)
