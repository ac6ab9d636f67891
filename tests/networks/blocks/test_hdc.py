"""Hybrid dilated convolution: the rule's golden cases, and a block that refuses to grid."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.networks import UNet
from jaxseg.networks.blocks.hdc import HDC, check_hdc


@pytest.mark.parametrize(
  ("rates", "distances", "field", "reached", "ok"),
  [
    ((1, 2, 5), (1, 2, 5), 17, 17, True),
    ((1, 2, 9), (3, 5, 9), 25, 21, False),
    ((2, 2, 2), (2, 2, 2), 13, 7, False),
    ((1, 2, 3), (1, 2, 3), 13, 13, True),
    ((1, 2, 5, 9), (1, 2, 5, 9), 35, 35, True),
    ((1,), (1,), 3, 3, True),
    ((2,), (2,), 5, 3, False),
    # cycles of the paper one after the other: M_2 = 5 exceeds the kernel, yet nothing is missed
    ((1, 2, 5, 1, 2, 5), (3, 5, 9, 1, 2, 5), 33, 33, True),
    ((1, 2, 3, 1, 2, 3), (1, 2, 5, 1, 2, 3), 25, 25, True),
  ],
)
def test_the_rule_and_what_is_seen(rates, distances, field, reached, ok):
  seen = check_hdc(rates, 3)
  assert (seen.distances, seen.receptive_field, seen.reached) == (distances, field, reached)
  assert seen.ok is ok
  # the same by brute force: a convolution of ones with holes, one after the other
  taps = np.ones(1)
  for rate in rates:
    kernel = np.zeros(2 * rate + 1)
    kernel[[0, rate, 2 * rate]] = 1
    taps = np.convolve(taps, kernel)
  assert (len(taps), np.count_nonzero(taps)) == (field, reached)


def test_a_problem_is_told_where_voxels_are_missed_and_only_there():
  for rates in itertools.product(range(1, 7), repeat=3):
    seen = check_hdc(rates)
    assert (seen.problem == "") == (seen.reached == seen.receptive_field) == seen.ok
    if seen.problem:
      assert f"({seen.reached} of {seen.receptive_field})" in seen.problem


def test_a_larger_kernel_bridges_larger_distances():
  assert not check_hdc((1, 2, 9), 3).ok
  assert check_hdc((1, 2, 9), 5).ok


def test_rates_that_grid_are_refused_and_told_why():
  with pytest.raises(ValueError, match=r"\(2, 2, 2\) grid: .* common factor 2, .* \(7 of 13\)"):
    HDC(4, rates=(2, 2, 2))
  with pytest.raises(ValueError, match=r"M_2 = 5 exceeds the kernel 3, .* \(21 of 25\)"):
    HDC(4, rates=(1, 2, 9))
  with pytest.raises(ValueError, match="expected at least one rate of 1 or more"):
    check_hdc(())
  # an axis that the kernel does not extend along cannot grid
  HDC(4, kernel=(1, 3, 3))


def test_a_cycle_sees_its_whole_field_of_view():
  block, x = HDC(1, norm="none"), jnp.zeros((1, 25, 1)).at[0, 12].set(1.0)
  shapes = jax.eval_shape(block.init, jax.random.key(0), x)
  out = block.apply(jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes), x)
  assert np.flatnonzero(out).tolist() == list(range(4, 21))


def test_unet_takes_it_as_a_stage_and_as_a_bottleneck():
  net = UNet(
    widths=(4, 6),
    down="stride",
    block=dict(name="hdc", cycles=2),
    bottleneck="hdc",
    norm=dict(name="group", groups=2),
  )
  for space in ((7, 6), (7, 6, 5)):
    x = jax.ShapeDtypeStruct((1, *space, 1), jnp.float32)
    out, variables = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x), x)
    assert out["logits"].shape == (1, *space, 3)
    assert "shortcut" in variables["params"]["encoder2"]
    assert set(variables["params"]["bottleneck"]) == {f"cycle1_rate{i}" for i in (1, 2, 3)}
