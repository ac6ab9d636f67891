"""Boxes that are pasted: their sizes, that they lie inside, and what is pasted."""

import jax
import numpy as np
import pytest

from jaxseg.augment.boxes import fixed_box, pasted, random_boxes


@pytest.mark.parametrize(
  ("space", "sides"),
  [
    ((256, 250), (170, 166)),
    ((112, 112, 80), (74, 74, 53)),
    ((3, 2), (2, 1)),
    ((9, 1), (6, 1)),
  ],
)
def test_a_fixed_box_has_two_thirds_of_each_side(space, sides):
  starts = set()
  for seed in range(8):
    where = np.argwhere(fixed_box(jax.random.key(seed), space, share=2 / 3))
    low, high = where.min(0), where.max(0)
    assert tuple(high - low + 1) == sides
    assert len(where) == np.prod(sides)
    starts.add(tuple(low))
  assert len(starts) > 1


@pytest.mark.parametrize("space", [(60, 80), (24, 30, 40)])
def test_random_boxes_have_the_share_and_the_shape_that_they_may_have(space):
  boxes = np.asarray(random_boxes(jax.random.key(0), 200, space, p=0.5, share=(0.05, 0.3), ratio=2))
  there = boxes.any(tuple(range(1, boxes.ndim)))
  assert abs(there.mean() - 0.5) < 0.12
  for box in boxes[there]:
    where = np.argwhere(box)
    sides = where.max(0) - where.min(0) + 1
    assert len(where) == np.prod(sides)  # one box, whole
    assert 0.035 < box.mean() < 0.34  # whole voxels
    shares = sides / np.array(space)
    assert shares.max() / shares.min() < 2.35


def test_certain_boxes_and_none():
  options = {"share": (0.1, 0.1), "ratio": 1.0}
  assert random_boxes(jax.random.key(0), 9, (10, 10), p=1.0, **options).any((1, 2)).all()
  assert not random_boxes(jax.random.key(0), 9, (10, 10), p=0.0, **options).any()


def test_pasting_takes_the_middle_for_smaller_grids():
  inside = np.zeros((2, 6, 6), bool)
  inside[0, 2, 3] = True
  own, other = np.zeros((2, 6, 6, 2)), np.ones((2, 6, 6, 2))
  out = pasted(inside, own, other)
  assert out.sum() == 2
  assert out[0, 2, 3].tolist() == [1, 1]
  small = pasted(inside, own[:, 1:-1, 1:-1, 0], other[:, 1:-1, 1:-1, 0])
  assert small.sum() == small[0, 1, 2] == 1
