"""Dense blocks: values worked by hand, what they keep, as a stage of `unet`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks import UNet
from jaxseg.networks.blocks.dense import DenseBlock, DenseStage, Scale

ONE = dict(kernel=1, norm="none", bottleneck=None)


def column(*numbers):
  """A 1x1 kernel from so many channels to one."""
  return {"kernel": jnp.asarray(numbers).reshape(1, 1, -1, 1)}


LAYERS = {"denselayer1": {"conv1": column(3.0)}, "denselayer2": {"conv1": column(1.0, 0.5)}}


@pytest.mark.parametrize("keep_input", [True, False])
def test_every_layer_sees_the_input_and_all_new_features(keep_input):
  block = DenseBlock(2, {"growth": 1, **ONE}, keep_input)
  # relu(2) 3 = 6, then relu(2) + relu(6) / 2 = 5; of -2 the activation leaves nothing
  x = jnp.asarray([2.0, -2.0]).reshape(1, 1, 2, 1)
  out = block.apply({"params": LAYERS}, x)
  want = np.array([[2.0, 6.0, 5.0], [-2.0, 0.0, 0.0]])
  assert_close(out[0, 0], want if keep_input else want[:, 1:])


def test_as_a_stage_a_1x1_convolution_follows():
  stage = DenseStage(1, growth=1, **ONE)
  params = {"dense": LAYERS, "transition": {"conv": column(1.0, -1.0, 1.5)}}
  # 2 - 6 + 1.5 x 5 = 3.5; -2 is cut off by the last activation
  out = stage.apply({"params": params}, jnp.asarray([2.0, -2.0]).reshape(1, 1, 2, 1))
  assert_close(out.ravel(), [3.5, 0.0])


def test_a_bottleneck_is_a_1x1_convolution_to_so_many_growths():
  x = jax.ShapeDtypeStruct((1, 4, 4, 5), jnp.float32)
  block = DenseBlock(2, {"growth": 3})
  params = jax.eval_shape(lambda x: block.init(jax.random.key(0), x)["params"], x)
  for i, channels in enumerate((5, 5 + 3), start=1):
    layer = params[f"denselayer{i}"]
    assert layer["conv1"]["kernel"].shape == (1, 1, channels, 4 * 3)
    assert layer["conv2"]["kernel"].shape == (3, 3, 4 * 3, 3)


def test_a_scale_layer_multiplies_and_adds_per_channel():
  params = {"scale": jnp.asarray([2.0, 3.0]), "bias": jnp.asarray([0.0, 1.0])}
  out = Scale().apply({"params": params}, jnp.ones((1, 1, 1, 2)))
  assert_close(out.ravel(), [2.0, 4.0])


@pytest.mark.parametrize("down", ["pool", "stride"])
@pytest.mark.parametrize("space", [(13, 10), (6, 5, 7)])
def test_unet_takes_dense_stages_by_name(down, space):
  net = UNet(widths=(4, 6), depth=3, down=down, block=dict(name="dense", growth=5))
  x = jax.ShapeDtypeStruct((1, *space, 2), jnp.float32)

  def run(x):
    out, variables = net.init_with_output(jax.random.key(0), x)
    return out, variables["params"]

  out, params = jax.eval_shape(run, x)
  assert out["logits"].shape == (1, *space, 3)
  ones = (1,) * len(space)
  assert params["encoder1"]["transition"]["conv"]["kernel"].shape == (*ones, 2 + 3 * 5, 4)
  entering = 6 if down == "stride" else 4
  assert params["encoder2"]["transition"]["conv"]["kernel"].shape == (*ones, entering + 3 * 5, 6)
  assert ("down" in params["encoder2"]) == (down == "stride")


def test_growth_is_half_the_stages_width_if_not_given():
  x = jax.ShapeDtypeStruct((1, 4, 4, 5), jnp.float32)
  params = jax.eval_shape(lambda x: DenseStage(8).init(jax.random.key(0), x)["params"], x)
  assert params["dense"]["denselayer1"]["conv1"]["kernel"].shape == (3, 3, 5, 4)


def test_no_layers_or_no_growth_is_refused():
  with pytest.raises(ValueError, match="block 'dense': depth=2, growth=0; expected 1 or more"):
    DenseStage(8, growth=0).init(jax.random.key(0), jnp.ones((1, 4, 4, 1)))
