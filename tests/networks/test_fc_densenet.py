"""FC-DenseNet: values of the public structure, what each block passes on, dropout, bad options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import waves
from closeness import assert_close

from jaxseg.networks import FCDenseNet

SMALL = dict(classes=2, layers=(2, 1, 2), growth=2, stem=3)


def test_logits_are_those_of_the_same_network_in_pytorch():
  # computed by PyTorch 2.13: transposed convolutions of stride 2 cropped at the centre, then
  # concatenated before the skip
  net, x = FCDenseNet(**SMALL), waves.inputs(1, 8, 12, 1)
  logits = jax.jit(net.apply)(waves.variables(net, *x.shape), x)["logits"]
  got = [logits[0, 0, 0], logits[0, 3, 5], logits[0, 7, 11]]
  want = [[0.435298, 0.189844], [0.644621, 0.906448], [-0.429703, -0.249034]]
  assert_close(got, want, atol=2e-6)
  assert_close(np.sum(logits), 116.396713)


def test_going_down_blocks_add_to_their_input_and_going_up_pass_on_new_features_alone():
  net = FCDenseNet(3, layers=(1, 2, 3, 4), growth=16, stem=48)

  def run(x):
    variables = net.init(jax.random.key(0), x)
    return variables["params"], net.apply(variables, x)

  params, out = jax.eval_shape(run, jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32))
  down = [48 + 1 * 16, 48 + 3 * 16, 48 + 6 * 16]  # C0 + L k
  for i, width in enumerate(down, start=1):
    assert params[f"transition_down{i}_conv"]["kernel"].shape == (1, 1, width, width)
  assert out["bottleneck"].shape == (1, 2, 2, 4 * 16)
  assert params["transition_up3"]["kernel"].shape == (3, 3, 4 * 16, 4 * 16)
  assert params["transition_up2"]["kernel"].shape == (3, 3, 3 * 16, 3 * 16)
  assert params["transition_up1"]["kernel"].shape == (3, 3, 2 * 16, 2 * 16)
  # the last block keeps its input: up-sampled features, then the skip
  assert out["decoder"].shape == (1, 16, 16, 2 * 16 + down[0] + 1 * 16)


def test_dropout_needs_a_key_and_drops_whole_channels():
  net, x = FCDenseNet(**SMALL), waves.inputs(1, 8, 12, 1)
  variables = waves.variables(net, *x.shape)

  @jax.jit
  def runs(x):
    return [net.apply(variables, x, rngs=rngs) for rngs in ({}, {"dropout": jax.random.key(0)})]

  still, noisy = runs(x)
  assert np.any(still["logits"] != noisy["logits"])
  # whole channels: of the bottleneck's, each is all dropped or not at all
  dropped = np.asarray(noisy["bottleneck"]) == 0
  np.testing.assert_array_equal(dropped.all((1, 2)), dropped.any((1, 2)))


def test_strides_may_differ_per_axis():
  net = FCDenseNet(strides=((1, 2, 2), 2), layers=(1, 1, 1), growth=2, stem=2)
  assert net.total_stride(3) == (2, 4, 4)
  assert net.margin(3) == (0, 0, 0)
  x = jax.ShapeDtypeStruct((1, 3, 7, 9, 1), jnp.float32)
  out = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x)[0], x)
  assert out["logits"].shape == (1, 3, 7, 9, 3)
  assert out["bottleneck"].shape == (1, 2, 2, 3, 2)


def test_bad_options_are_told_in_words():
  with pytest.raises(ValueError, match="layers=56 is no published depth; choices: 57, 67, 103"):
    FCDenseNet(layers=56)
  with pytest.raises(ValueError, match="expected two blocks or more, and 1 or more of each"):
    FCDenseNet(layers=(4,))
  with pytest.raises(ValueError, match="5 are needed"):
    FCDenseNet(strides=(2, 2))
  with pytest.raises(ValueError, match="dtype='float16' is unknown"):
    FCDenseNet(dtype="float16")
