"""P3D blocks A, B, C: 49,152 weights, their reach, their place in networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes

from jaxseg.networks import UNet
from jaxseg.networks.blocks.p3d import P3D

KINDS = ("A", "B", "C")


def count(variables):
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize("kind", KINDS)
def test_64_to_64_channels_have_49152_weights_instead_of_110592(kind):
  variables = shapes(P3D(64, depth=1, kind=kind, norm="none"), 1, 4, 4, 4, 64)[1]
  assert count(variables) == 49_152
  assert count(variables) / 110_592 == pytest.approx(0.4444, abs=5e-5)


def test_where_an_impulse_goes():
  x = np.zeros((1, 5, 5, 5, 1), np.float32)
  x[0, 2, 2, 2] = 1
  plane, line, cube = (np.zeros((5, 5, 5)) for _ in KINDS)
  plane[2, 1:4, 1:4] = line[1:4, 2, 2] = cube[1:4, 1:4, 1:4] = 1
  expected = {"A": cube, "B": plane + line, "C": plane + cube}
  for kind in KINDS:
    block = P3D(1, depth=1, kind=kind, norm="none")
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes(block, *x.shape)[1])
    out = jax.jit(block.apply)(ones, x)
    np.testing.assert_array_equal(out[0, ..., 0], expected[kind], err_msg=kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
  ("stride", "space"),
  [(1, (5, 6, 7)), (2, (3, 3, 4)), ((1, 2, 2), (5, 3, 4)), ((2, 1, 1), (3, 6, 7))],
)
def test_strides(kind, stride, space):
  out, _ = shapes(P3D(6, stride=stride, kind=kind, residual=True), 2, 5, 6, 7, 3)
  assert out.shape == (2, *space, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_it_drops_into_unet(kind):
  block = {"name": "p3d", "kind": kind}
  net = UNet(widths=(4, 6), block=block, residual=True, dropout=0.1, down="stride")
  outputs, variables = shapes(net, 1, 5, 6, 7, 1)
  assert outputs["logits"].shape == (1, 5, 6, 7, 3)
  layer = variables["params"]["encoder2"]
  assert layer["spatial2"]["conv"]["kernel"].shape == (1, 3, 3, 6, 6)
  assert layer["temporal2"]["conv"]["kernel"].shape == (3, 1, 1, 6, 6)


def test_bad_kinds_and_images_are_refused_in_words():
  with pytest.raises(ValueError, match="p3d: kind='D' is unknown; choices: A, B, C"):
    P3D(4, kind="D")
  net = functools.partial(shapes, UNet(widths=(4, 6), block="p3d"))
  with pytest.raises(ValueError, match="block 'p3d': an input with 2 spatial axes; expected vol"):
    net(1, 6, 7, 1)
