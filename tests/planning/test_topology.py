"""Stages, memory and spacing by hand calculation, and by numbers of nnU-Net's own plans."""

import numpy as np
import pytest

from jaxseg.planning.memory import feature_map_elements
from jaxseg.planning.spacing import axis_order, coarser, resampled_shape, target_spacing
from jaxseg.planning.topology import topology


def test_axes_are_halved_while_they_have_eight_voxels():
  # 40 -> 20 -> 10 -> 5 stops; 56 -> 28 -> 14 -> 7 stops
  stages = topology((1.0, 1.0), (40, 56))
  assert stages.strides == ((1, 1), (2, 2), (2, 2), (2, 2))
  assert stages.kernels == ((3, 3),) * 4
  assert (stages.patch, stages.divisor) == ((40, 56), (8, 8))


def test_an_axis_that_would_be_pooled_alone_needs_twelve_voxels():
  assert len(topology((1.0, 1.0), (11, 4)).strides) == 1
  assert topology((1.0, 1.0), (12, 4)).strides == ((1, 1), (2, 1))


def test_a_coarse_axis_waits_with_pooling_and_with_its_kernel():
  # 7.7 / 1.25 > 2, 7.7 / 2.5 > 2, 7.7 / 5 < 2: the third step pools all axes
  stages = topology((7.7, 1.25, 1.25), (28, 224, 224))
  assert stages.kernels == ((1, 3, 3), (1, 3, 3), *((3, 3, 3),) * 4)
  assert stages.strides == (
    (1, 1, 1),
    (1, 2, 2),
    (1, 2, 2),
    (2, 2, 2),
    (2, 2, 2),
    (1, 2, 2),
  )


def test_a_patch_is_padded_to_what_pooling_divides():
  # the median of two shapes may be half a voxel
  assert topology((5.0, 1.425, 1.425), (88.5, 230, 256)).patch == (96, 256, 256)


def test_memory_of_a_plain_network_by_hand():
  # stages 4x4 and 2x2: encoder 2*3*16 + 2*5*4, decoder (2 + 1)*3*16, head 7*16
  elements = feature_map_elements(
    (4, 4),
    widths=(3, 5),
    strides=((1, 1), (2, 2)),
    depth=(2, 2),
    decoder_depth=(2,),
    labels=7,
    residual=False,
  )
  assert elements == 96 + 40 + 144 + 112


@pytest.mark.parametrize(
  ("patch", "widths", "elements"),
  [
    ((128, 128, 128), (32, 64, 128, 256, 320, 320), 558_319_104),
    ((512, 512), (32, 64, 128, 256, 512, 512, 512), 129_793_792),
  ],
)
def test_memory_of_residual_networks_as_nnunet_counts_it(patch, widths, elements):
  # nnU-Net's source tells them for 3 classes with a head at every stage; planning counts one
  stages, rank = len(widths), len(patch)
  counted = feature_map_elements(
    patch,
    widths=widths,
    strides=((1,) * rank, *((2,) * rank,) * (stages - 1)),
    depth=((1, 3, 4) + (6,) * stages)[:stages],
    decoder_depth=(1,) * (stages - 1),
    labels=3,
    residual=True,
  )
  coarser_heads = 3 * sum((patch[0] >> i) ** rank for i in range(1, stages - 1))
  assert counted + coarser_heads == elements


def test_the_target_spacing_is_the_median():
  spacings = np.array([[1.0, 0.5, 0.5], [2.0, 0.7, 0.7], [3.0, 0.9, 0.9]])
  target, why = target_spacing(spacings, np.full((3, 3), 100))
  np.testing.assert_allclose(target, (2, 0.7, 0.7))
  assert why == "median of 3 cases"


def test_a_coarse_and_short_axis_gets_its_tenth_percentile():
  # numpy's percentile of (5, 6, 10, 10, 10): between the first two ranks, at 0.4
  spacings = np.array([[z, 1.5, 1.4] for z in (5.0, 6, 10, 10, 10)])
  target, why = target_spacing(spacings, np.tile((10, 200, 200), (5, 1)))
  np.testing.assert_allclose(target, (5.4, 1.5, 1.4))
  assert "10th percentile along the coarse axis 0" in why
  # long enough, it keeps the median
  target, _ = target_spacing(spacings, np.tile((70, 200, 200), (5, 1)))
  np.testing.assert_allclose(target, (10, 1.5, 1.4))


def test_the_tenth_percentile_never_gets_finer_than_the_other_axes():
  spacings = np.array([[z, 1.5, 1.4] for z in (1.0, 1.0, 10, 10, 10)])
  target, _ = target_spacing(spacings, np.tile((10, 200, 200), (5, 1)))
  np.testing.assert_allclose(target, (1.50001, 1.5, 1.4))


def test_the_coarsest_axis_comes_first():
  assert axis_order(np.array([1.0, 1.0, 3.0])) == (2, 0, 1)
  assert axis_order(np.array([1.0, 1.0, 1.0])) == (0, 1, 2)


def test_shapes_round_half_to_even():
  assert resampled_shape((5, 7, 10), (1.0, 1.0, 1.0), (2.0, 2.0, 0.5)) == (2, 4, 20)


def test_a_search_for_low_resolution_begins_with_the_fine_axes():
  np.testing.assert_allclose(coarser(np.array([5.0, 1.0, 1.0])), (5, 1.03, 1.03))
  np.testing.assert_allclose(coarser(np.array([1.0, 0.8, 0.8])), (1.03, 0.824, 0.824))
