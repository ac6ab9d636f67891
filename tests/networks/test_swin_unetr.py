"""Swin UNETR: windows, shifts, relative positions, merging."""

import jax
import numpy as np
import pytest
from abstract import shapes
from option_checks import assert_same_parameters_and_shapes

from jaxseg.networks import SwinUNETR
from jaxseg.networks.blocks import conv
from jaxseg.networks.swin_unetr import SwinBlock, relative_positions, shift_mask

TINY = {"features": 4, "depths": (2, 1), "heads": 2, "window": 2}


@pytest.mark.parametrize(
  ("parameters", "options", "space"),
  [(25_138_568, {}, (32, 32)), (15_703_304, {"features": 24}, (32, 32, 32))],
)
def test_the_counts_of_monai(monkeypatch, parameters, options, space):
  # SwinUNETR(1, 14, feature_size=48, spatial_dims=2) and SwinUNETR(1, 14, feature_size=24)
  monkeypatch.setattr(conv, "convolve_on_cpu", conv._native)  # quicker to trace
  _, variables = shapes(SwinUNETR(classes=14, **options), 1, *space, 1)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == parameters


def test_pairs_with_the_same_difference_of_places_share_a_bias():
  # two by two: differences (dy + 1) * 3 + (dx + 1), of the query's place less the key's
  assert relative_positions((2, 2), (2, 2)).tolist() == [
    [4, 3, 1, 0],
    [5, 4, 2, 1],
    [7, 6, 4, 3],
    [8, 7, 5, 4],
  ]


def test_a_window_that_is_cut_short_keeps_the_differences():
  # along an axis of 2 in windows of 3, the table's middle, 2, is no difference
  assert relative_positions((2,), (3,)).tolist() == [[2, 1], [3, 2]]
  assert relative_positions((1, 2), (3, 3)).tolist() == [[12, 11], [13, 12]]


def test_after_the_shift_only_old_neighbours_see_each_other():
  # 6 voxels in windows of 2, shifted by 1: 1 2 | 3 4 | 5 0, and 5 and 0 are no neighbours
  mask = shift_mask((6,), (2,), (1,))
  apart = np.array([[0, -1e9], [-1e9, 0]], np.float32)
  np.testing.assert_array_equal(mask, [np.zeros((2, 2)), np.zeros((2, 2)), apart])


def test_an_axis_without_a_shift_separates_nothing():
  mask = shift_mask((2, 4), (2, 2), (0, 1))
  assert mask.shape == (2, 4, 4)
  assert not mask[0].any()
  assert (mask[1] == 0).sum() == 8  # each of the two columns sees itself


@pytest.mark.parametrize(
  ("shifted", "reached"), [(False, (0, 1, 2, 3)), (True, (2, 3, 4, 5))], ids=["plain", "shifted"]
)
def test_a_voxel_is_seen_in_its_window_only(shifted, reached):
  block = SwinBlock(1, (4,), shifted=shifted, hidden=4)
  x = np.random.default_rng(0).normal(size=(1, 8, 2)).astype(np.float32)
  changed = x.copy()
  changed[0, 3] = 5, -5

  @jax.jit
  def run(x):
    variables = block.init(jax.random.key(0), x)
    return block.apply(variables, x), block.apply(variables, changed)

  first, second = run(x)
  differs = np.abs(first - second).max((0, 2)) > 1e-6
  assert np.flatnonzero(differs).tolist() == list(reached)


def test_stages_halve_the_resolution_and_double_the_channels():
  net = SwinUNETR(**TINY, patch=(1, 2))
  assert net.total_stride(2) == (4, 8)
  outputs, variables = shapes(net, 1, 7, 12, 1)
  assert outputs["bottleneck"].shape == (1, 2, 2, 16)
  assert outputs["logits"].shape == (1, 7, 12, 3)
  params = variables["params"]
  assert params["stage1_merging"]["reduction"]["kernel"].shape == (16, 8)
  assert params["stage1_block2"]["relative_position"].shape == (9, 2)
  # the coarsest skip goes through as it is
  assert "encoder1" in params
  assert "encoder2" not in params


def test_options_keep_parameters_and_shapes():
  options = {"dtype": "bfloat16", "dropout": 0.2, "stochastic_depth": 0.1}
  assert_same_parameters_and_shapes(SwinUNETR(**TINY), SwinUNETR(**TINY, **options))


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"heads": 3}, "3 heads do not divide the 4 channels of stage 1"),
    ({"heads": (2, 2, 2)}, r"heads=\(2, 2, 2\) has 3 entries but 2 are needed"),
    ({"depths": ()}, "expected at least one class, feature, stage"),
    ({"norm": "group"}, "norm='group' is unknown; choices: batch, instance, none"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    SwinUNETR(**{**TINY, **options})
