"""`describe` against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.networks import UNet
from jaxseg.networks.blocks import Conv, UpConv
from jaxseg.networks.describe import describe, flops


def count(module, *shape):
  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  variables = jax.eval_shape(module.init, jax.random.key(0), x)
  return flops(module.apply, variables, x)


@pytest.mark.parametrize(
  ("module", "shape", "expected"),
  [
    (Conv(8), (2, 16, 16, 4), 2 * (2 * 16 * 16 * 8) * (9 * 4)),
    (Conv(8), (1, 8, 8, 8, 16), 2 * (8**3 * 8) * (27 * 16)),
    (Conv(8), (1, 8, 8, 8, 1), 2 * (8**3 * 8) * 27),
    (Conv(8, stride=2), (1, 16, 16, 4), 2 * (8 * 8 * 8) * (9 * 4)),
    (Conv(8, groups=4), (1, 16, 16, 4), 2 * (16 * 16 * 8) * 9),
    (Conv(8, 1), (1, 16, 16, 4), 2 * (16 * 16 * 8) * 4),
    (UpConv(8), (1, 16, 16, 4), 2 * (32 * 32 * 8) * 4),
  ],
)
def test_operations_of_one_layer_equal_the_count_by_hand(module, shape, expected):
  assert count(module, *shape) == expected


def test_loops_count_as_often_as_they_run():
  def loop(x):
    return jax.lax.scan(lambda carry, _: (carry @ x, None), x, length=5)[0]

  assert flops(loop, jnp.ones((4, 4))) == 5 * 2 * 4**3


def conv(voxels, inputs, outputs, kernel=9):
  return 2 * voxels * inputs * outputs * kernel


def test_what_a_shard_map_runs_counts_for_every_device():
  mesh = jax.make_mesh((2, 1), ("member", "batch"))
  kernel = jnp.ones((4, 4))

  def function(x):
    spec = jax.P("member")
    options = dict(mesh=mesh, in_specs=spec, out_specs=spec, axis_names={"member"})
    return jax.shard_map(lambda x: x @ kernel, **options)(x)

  assert flops(function, jnp.ones((6, 4))) == 2 * 6 * 4 * 4


def test_a_small_unet_equals_the_count_by_hand():
  net = UNet(classes=3, widths=(4, 8), up="transpose", deep_supervision=0)
  summary = describe(net, (2, 8, 8, 1))
  fine, coarse = 2 * 64, 2 * 16
  assert summary.flops == (
    conv(fine, 1, 4)
    + conv(fine, 4, 4)
    + conv(coarse, 4, 8)
    + conv(coarse, 8, 8)
    + conv(coarse, 8, 4, kernel=4)  # each coarse voxel makes four fine ones
    + conv(fine, 8, 4)
    + conv(fine, 4, 4)
    + conv(fine, 4, 3, kernel=1)
  )
  kernels = 9 * (1 * 4 + 4 * 4 + 4 * 8 + 8 * 8 + 8 * 4 + 4 * 4) + (4 * 8 * 4 + 4) + 4 * 3
  assert summary.parameters == kernels + 2 * (4 + 4 + 8 + 8 + 4 + 4)
  # convolution, norm and activation of each layer; the transposed convolution, skip and head
  outputs = 3 * (4 * 4 * fine + 2 * 8 * coarse) + 4 * fine + 8 * fine + 3 * fine
  assert summary.activation_bytes == 4 * outputs


def test_layers_come_in_order_with_shapes_and_parameters():
  layers = describe(UNet(), (1, 64, 64, 1)).layers
  table = {"/".join(layer.path): layer for layer in layers}
  assert table[""].parameters == 22_720_640
  assert table["encoder1"].parameters == 37_696
  assert table["encoder5"].shape == (1, 4, 4, 512)
  assert table["encoder1/layer1/conv"].parameters == 9 * 64
  assert table["encoder1/layer1/conv"].leaf
  assert not table["encoder1"].leaf
  assert table["encoder1"].kind == "Stage"
  names = list(table)
  assert names[0] == ""
  assert names[-1] == "head"
  assert names.index("encoder1") < names.index("encoder1/layer1/conv") < names.index("encoder2")


def test_half_precision_halves_the_memory():
  options = {"widths": (4, 8), "deep_supervision": 0}
  plain = describe(UNet(**options), (1, 8, 8, 8, 1))
  half = describe(UNet(**options, dtype="bfloat16"), (1, 8, 8, 8, 1))
  assert half.activation_bytes * 2 == plain.activation_bytes


def test_auxiliary_heads_are_listed_but_inference_does_not_pay_for_them():
  plain = describe(UNet(widths=(4, 8, 8)), (1, 8, 8, 1))
  deep = describe(UNet(widths=(4, 8, 8), deep_supervision=1), (1, 8, 8, 1))
  assert ("aux1",) in [layer.path for layer in deep.layers]
  assert deep.parameters == plain.parameters + 8 * 3
  assert deep.flops == plain.flops
