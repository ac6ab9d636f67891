"""Losses of boxes, against Kervadec's constraints written out one by one."""

import functools

import jax
import numpy as np
import pytest
from closeness import assert_close
from scipy.special import expit, softmax

from jaxseg.batch import Target
from jaxseg.losses import box_emptiness, box_size, box_tightness


def boxes(space, classes=3):
  """Boxes of two samples: one inside, one that the patch cuts along axis 0, none."""
  box = np.zeros((2, *space, classes), np.float32)
  rest = (slice(1, 3),) * (len(space) - 2)
  box[(0, slice(1, 4), slice(2, 5), *rest, 1)] = 1
  box[(0, slice(0, 3), slice(1, 4), *rest, 2)] = 1
  box[(1, slice(2, 5), slice(1, 3), *rest, 2)] = 1
  return box


def barrier(z, t):
  return -np.log(-z) / t if z <= -1 / t**2 else t * z - np.log(1 / t**2) / t + 1 / t


PENALTIES = {"squared": lambda z, t: max(z, 0.0) ** 2, "log_barrier": barrier}


def cut(mask, axis):
  ends = np.take(mask, [0, mask.shape[axis] - 1], axis)
  return ends.any()


def tightness(scores, box, *, width, penalty, t, first):
  costs = []
  for b in range(len(box)):
    for k in range(first, box.shape[-1]):
      mask, p = box[b, ..., k] > 0, scores[b, ..., k]
      for axis in range(mask.ndim):
        if any(cut(mask, other) for other in range(mask.ndim) if other != axis):
          continue
        for start in range(mask.shape[axis]):
          if not np.take(mask, start, axis).any():
            continue
          band = range(start, min(start + width, mask.shape[axis]))
          sections = [n for n in band if np.take(mask, n, axis).any()]
          held = sum((np.take(p, n, axis) * np.take(mask, n, axis)).sum() for n in sections)
          costs.append(PENALTIES[penalty](len(sections) - held, t))
  return np.mean(costs)


def size(scores, box, *, bounds, penalty, t, first):
  costs = []
  for b in range(len(box)):
    for k in range(first, box.shape[-1]):
      mask = box[b, ..., k] > 0
      if not mask.any() or any(cut(mask, axis) for axis in range(mask.ndim)):
        continue
      share = scores[b, ..., k][mask].mean()
      costs += [PENALTIES[penalty](z, t) for z in (bounds[0] - share, share - bounds[1])]
  return np.mean(costs)


@pytest.fixture(params=[(6, 7), (6, 7, 4)], ids=["2D", "3D"])
def case(request):
  random = np.random.default_rng(0)
  logits = random.normal(size=(2, *request.param, 3)).astype(np.float32)
  box = boxes(request.param)
  labels = np.zeros(box.shape[:-1], int)
  return logits, box, Target(labels, np.zeros(labels.shape, np.float32), {"box": box}, 2500)


@pytest.mark.parametrize("sigmoid", [False, True])
def test_emptiness_is_the_cross_entropy_of_what_is_known_to_be_outside(case, sigmoid):
  logits, box, target = case
  scores, first = (expit(logits), 0) if sigmoid else (softmax(logits, -1), 1)
  # what has no weight is known where it is in another class's box
  known = (np.asarray(target.weight) > 0) | box.any(-1)
  assert 0 < known.mean() < 1
  outside = (box[..., first:] == 0) & known[..., None]
  expected = -np.log(1 - scores[..., first:].astype(float))[outside].mean()
  assert_close(box_emptiness(logits, target, sigmoid=sigmoid), expected)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("width", "sigmoid"), [(1, False), (2, True)])
def test_tightness_is_that_of_every_band(case, penalty, width, sigmoid):
  logits, box, target = case
  options = {"width": width, "penalty": penalty, "sharpness": 4.0, "growth": 1.1, "every": 1000}
  value = jax.jit(functools.partial(box_tightness, sigmoid=sigmoid, **options))(logits, target)
  scores, first = (expit(logits), 0) if sigmoid else (softmax(logits, -1), 1)
  # at step 2500 the barrier has been sharpened twice
  expected = tightness(scores, box, width=width, penalty=penalty, t=4.0 * 1.1**2, first=first)
  assert_close(value, expected)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("bounds", [(0.3, 0.95), (0.6, 0.7), (0.0, 0.1)])
def test_the_size_is_bounded_by_shares_of_the_box(case, penalty, bounds):
  logits, box, target = case
  options = {"bounds": bounds, "penalty": penalty, "sharpness": 5.0}
  expected = size(softmax(logits, -1), box, bounds=bounds, penalty=penalty, t=5.0, first=1)
  assert_close(jax.jit(functools.partial(box_size, **options))(logits, target), expected)


def test_the_barrier_is_continued_by_its_tangent(case):
  """No jump, of value or slope, where it leaves the allowed side."""
  from jaxseg.losses.boxes import _penalised

  at, t = -1 / 25.0, np.float32(5.0)
  value = functools.partial(_penalised, penalty="log_barrier", t=t)
  slope, near = jax.grad(value), [np.float32(at + s * 1e-5) for s in (-1, 1)]
  values, slopes = ([f(z) for z in near] for f in (value, slope))
  assert_close(values[0], values[1], atol=2e-4)
  assert_close(slopes[0], slopes[1], atol=2e-2)
  assert_close(slope(np.float32(1.0)), 5.0)


def test_a_filled_box_is_tight_and_an_empty_one_is_not(case):
  _, box, target = case
  full = np.where(box > 0, 30, -30).astype(np.float32)
  full[..., 0] = 0
  assert_close(box_tightness(full, target, penalty="squared"), 0.0, atol=1e-6)
  assert box_tightness(-full, target, penalty="squared") > 0.5
  assert_close(box_emptiness(full, target), 0.0, atol=1e-6)


def test_without_a_box_there_is_no_loss(case):
  logits, box, target = case
  target = target._replace(maps={"box": np.zeros_like(box)})
  assert float(box_tightness(logits, target)) == float(box_size(logits, target)) == 0


@pytest.mark.parametrize(
  ("loss", "options", "words"),
  [
    (box_tightness, {"width": 0}, "width is 0; expected 1 or more"),
    (box_tightness, {"penalty": "barrier"}, "penalty 'barrier' is unknown; choices: log_barrier"),
    (box_tightness, {"sharpness": 0.0}, "sharpness 0.0.*; expected numbers above 0"),
    (box_size, {"bounds": (0.9, 0.3)}, r"bounds are \(0.9, 0.3\); expected two shares"),
    (box_size, {"bounds": (0.9,)}, r"bounds are \(0.9,\); expected two shares"),
  ],
)
def test_what_is_no_constraint_is_told(case, loss, options, words):
  logits, _, target = case
  with pytest.raises(ValueError, match=words):
    loss(logits, target, **options)


def test_a_batch_without_boxes_is_told(case):
  logits, box, target = case
  with pytest.raises(ValueError, match="box_size: the batch has no 'box'; name what gives it"):
    box_size(logits, target._replace(maps={}))
  with pytest.raises(ValueError, match=r"box_size: the 'box' map has shape"):
    box_size(logits, target._replace(maps={"box": box[..., :2]}))
