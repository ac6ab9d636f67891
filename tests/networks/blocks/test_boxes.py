"""Boxes: overlap, coding, suppression, in 2D and 3D, under jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks.blocks.boxes import decode, encode, iou, nms

suppress = jax.jit(nms, static_argnames=("limit",))


def some_boxes(n, rank, seed=0):
  rng = np.random.default_rng(seed)
  low = rng.uniform(0, 20, (n, rank))
  return np.concatenate([low, low + rng.uniform(1, 10, (n, rank))], -1).astype(np.float32)


def test_iou_of_the_fact_sheets_boxes():
  got = iou([[0, 0, 4, 4]], [[2, 2, 6, 6], [0, 0, 4, 4], [4, 0, 8, 4]])
  assert_close(got, [[4 / 28, 1, 0]], atol=1e-6)
  assert_close(got[0, 0], 0.142857, atol=1e-6)


def test_iou_in_three_dimensions_and_of_boxes_of_no_size():
  a = [[0, 0, 0, 2, 2, 2], [0, 0, 0, 0, 0, 0]]
  # 1 x 2 x 2 shared of 8 + 8 - 4
  assert_close(iou(a, [[1, 0, 0, 3, 2, 2]]), [[4 / 12], [0]], atol=1e-6)
  np.testing.assert_array_equal(iou(a[1:], a[1:]), [[0]])


@pytest.mark.parametrize("rank", [2, 3])
def test_coding_is_undone_by_decoding(rank):
  boxes, references = some_boxes(30, rank), some_boxes(30, rank, seed=1)
  back = jax.jit(lambda b, r: decode(encode(b, r), r))(boxes, references)
  np.testing.assert_allclose(back, boxes, atol=1e-4)


def test_codes_are_the_shift_in_reference_sizes_and_the_log_of_the_ratio():
  # centre (4, 6), size (4, 8); reference: centre (2, 2), size (4, 4)
  code = encode([[2, 2, 6, 10]], [[0, 0, 4, 4]])
  assert_close(code, [[0.5, 1.0, 0.0, np.log(2)]], atol=1e-6)
  assert np.isfinite(decode(jnp.full((1, 4), 1e9), jnp.ones((1, 4)))).all()


def greedy(boxes, scores, limit, threshold, overlap):
  kept, overlaps = [], np.asarray(iou(boxes, boxes))
  for i in np.argsort(-scores):
    rivals = [j for j in kept if overlaps[i, j] > overlap]
    if scores[i] > threshold and not rivals:
      kept.append(i)
  return kept[:limit]


@pytest.mark.parametrize("rank", [2, 3])
def test_suppression_is_the_greedy_one_and_keeps_the_higher_score(rank):
  boxes = some_boxes(12, rank)
  boxes[6:] = boxes[:6] + 0.3
  scores = np.random.default_rng(2).uniform(size=12).astype(np.float32)
  kept = greedy(boxes, scores, 5, 0.2, 0.4)
  got, told = suppress(boxes, scores, limit=5, threshold=0.2, overlap=0.4)
  assert_close(got[: len(kept)], boxes[kept])
  assert_close(told[: len(kept)], scores[kept])
  assert not np.asarray(got)[len(kept) :].any()
  assert not np.asarray(told)[len(kept) :].any()


def test_of_two_rivals_the_higher_score_stays_and_a_suppressed_box_suppresses_nobody():
  # a chain: the second is beaten by the first, so that the third, which only it overlaps, stays
  boxes = np.asarray([[0, 0, 4, 4], [0, 2, 4, 6], [0, 4, 4, 8]], np.float32)
  scores = np.asarray([0.9, 0.8, 0.7], np.float32)
  got, told = suppress(boxes, scores, limit=3, overlap=0.3)
  assert_close(told, [0.9, 0.7, 0])
  np.testing.assert_array_equal(got, [boxes[0], boxes[2], np.zeros(4)])


def test_suppression_gives_as_many_rows_as_asked_for():
  scores = np.asarray([0.1, 0.2], np.float32)
  boxes, scores = suppress(some_boxes(2, 2), scores, limit=4, threshold=0.15)
  assert boxes.shape == (4, 4)
  assert_close(scores, [0.2, 0, 0, 0])


def test_suppression_acts_on_each_image_of_a_batch():
  boxes = np.stack([some_boxes(6, 2, seed) for seed in range(3)])
  scores = np.random.default_rng(3).uniform(size=(3, 6)).astype(np.float32)
  got, _ = jax.vmap(lambda b, s: suppress(b, s, limit=3))(boxes, scores)
  for i in range(3):
    assert_close(got[i], suppress(boxes[i], scores[i], limit=3)[0])
