"""MultiResUNet: the published counts and widths, its skips' lengths, its head."""

import jax
import jax.numpy as jnp
import pytest
from abstract import count

from jaxseg.networks import MultiResUNet


def shapes(net, *shape):
  def run(x):
    variables = net.init(jax.random.key(0), x, train=True)
    return variables, net.apply(variables, x, train=True, mutable=["batch_stats"])[0]

  return jax.eval_shape(run, jax.ShapeDtypeStruct(shape, jnp.float32))


def parameters(net, *shape):
  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  return jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=True), x)["params"]


def test_the_public_network_is_the_default_with_one_class_more():
  # "MultiResUnet(3, 1)" gives two channels
  params = parameters(MultiResUNet(classes=2), 1, 32, 32, 3)
  assert count(params) == 7_251_376
  names = [f"encoder{i}" for i in (1, 2, 3, 4, 5)] + [f"decoder{i}" for i in (4, 3, 2, 1)]
  widths = [params[name]["sum_norm"]["scale"].size for name in names]
  assert widths == [51, 105, 212, 426, 853, 426, 212, 105, 51]
  assert [params[f"up{i}"]["kernel"].shape[-1] for i in (1, 2, 3, 4)] == [32, 64, 128, 256]
  assert [params[f"skip{i}"]["sum_norm1"]["bias"].size for i in (1, 2, 3, 4)] == [32, 64, 128, 256]


def test_the_public_codes_later_version_keeps_the_width_on_its_skips():
  # by hand: each 3x3 and 1x1 convolution of c to c channels has biases and norms, then 2 c
  def path(c, length):
    return length * (10 * c * c + 2 * 3 * c + 2 * c)

  paths = [dict(name="respath", length=n, features=None, use_bias=True) for n in (4, 3, 2, 1)]
  params = parameters(MultiResUNet(classes=2, skip=paths), 1, 32, 32, 3)
  assert count(params["skip1"]) == path(51, 4)
  assert count(params["skip4"]) == path(426, 1)
  assert count(params) == 8_920_415


@pytest.mark.parametrize("stages", [2, 3])
def test_a_skip_is_as_long_as_there_are_stages_below_it(stages):
  params = parameters(MultiResUNet(widths=(4,) * stages), 1, 16, 16, 1)
  for i in range(1, stages):
    lengths = [name for name in params[f"skip{i}"] if name.startswith("layer")]
    assert len(lengths) == stages - i


def test_lengths_and_the_heads_norm_are_options():
  net = MultiResUNet(
    widths=(4, 4, 4), skip=dict(name="respath", length=1), head_norm=False, deep_supervision=1
  )
  params, outputs = shapes(net, 1, 13, 10, 1)
  params = params["params"]
  assert "layer2" not in params["skip1"]
  assert "head_norm" not in params
  assert [a.shape for a in outputs["aux"]] == [(1, 7, 5, 3)]


def test_a_plain_skip_and_an_unknown_one():
  params = parameters(MultiResUNet(widths=(4, 4), skip="concat"), 1, 8, 8, 1)
  assert "skip1" not in params
  with pytest.raises(ValueError, match="'respth' is unknown"):
    MultiResUNet(skip="respth")
