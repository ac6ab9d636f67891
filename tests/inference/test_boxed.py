"""The predictor of a box: deepbet's own procedure on a head of numbers, and what it refuses."""

import numpy as np
import pytest
from closeness import assert_close

from jaxseg.inference import Case, boxed

SIZES = {"box_size": 16, "patch": (24, 20, 28)}


def head() -> np.ndarray:
  """A bright ball with a hole, a smaller ball, and noise."""
  z, y, x = np.ogrid[:31, :27, :35]
  ball = (z - 14) ** 2 + (y - 12) ** 2 + (x - 15) ** 2
  small = (z - 26) ** 2 + (y - 23) ** 2 + (x - 31) ** 2
  image = 100.0 * (ball < 81) * (ball >= 4) + 90.0 * (small < 8)
  return (image + np.random.default_rng(0).normal(0, 9, image.shape)).astype(np.float32)


def case(image) -> Case:
  return Case({"image": image[..., None], "spacing": np.ones(image.ndim, np.float32)})


class Bright:
  """A network that says foreground where its image is above 1/2; it notes what it is given."""

  def __init__(self):
    self.seen = []

  def __call__(self, batch):
    self.seen.append(np.asarray(batch["image"]))
    logit = 8 * (self.seen[-1] - 0.5)
    return {"logits": np.concatenate([0 * logit, logit], -1)}


def test_it_is_deepbets_procedure():
  """Golden: BrainExtraction.run_model and postprocess of deepbet 1.0.2, with this network."""
  apply = Bright()
  scores = boxed(apply, case(head()), **SIZES)
  mask = scores[..., 1] > scores[..., 0]
  assert mask.sum() == 2969
  voxels = np.argwhere(mask)
  assert_close(voxels.mean(0), [14.0, 12.0, 15.0], atol=1e-6)
  assert_close((voxels**2).mean(0), [211.8922196, 159.8922196, 240.8922196], rtol=1e-8)
  # the hole is filled, the small ball left out, and nothing is said beyond the box
  assert mask[14, 12, 15]
  assert not mask[26, 23, 31]
  inside = np.abs(scores).max(-1) < 30
  assert [(of.min(), of.max() + 1) for of in np.nonzero(inside)] == [(4, 25), (2, 22), (4, 25)]
  small, box = apply.seen
  assert (small.shape, box.shape) == ((1, 16, 16, 16, 1), (1, 24, 20, 28, 1))
  for image in apply.seen:
    assert_close([image.mean(), image.std(ddof=1)], [0.449, 0.226], rtol=1e-5)


def test_the_parts_are_given_and_counted():
  parts, steps = [], []
  options = {"into": lambda *part: parts.append(part), "progress": lambda *at: steps.append(at)}
  assert boxed(Bright(), case(head()), **SIZES, **options) is None
  ((region, scores),) = parts
  assert region == (slice(None),) * 3
  np.testing.assert_array_equal(scores, boxed(Bright(), case(head()), **SIZES))
  assert steps == [(1, 2), (2, 2)]


def test_mirror_images_change_nothing_of_a_network_that_sees_voxels():
  assert_close(
    boxed(Bright(), case(head()), **SIZES, mirror_axes=(0, 2)),
    boxed(Bright(), case(head()), **SIZES),
    atol=1e-5,
  )


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_where_there_is_nothing_all_is_background(value):
  apply = Bright()
  scores = boxed(apply, case(np.full((9, 8, 7), value, np.float32)), **SIZES)
  assert (scores[..., 0] > scores[..., 1]).all()
  assert len(apply.seen) == 1


def test_several_channels_and_classes_are_refused():
  two = np.zeros((9, 8, 7, 2), np.float32)
  with pytest.raises(ValueError, match=r"^predictor boxed: 2 channel\(s\) of 3 axes and a patch"):
    boxed(Bright(), Case({"image": two, "spacing": np.ones(3, np.float32)}), **SIZES)
  with pytest.raises(ValueError, match=r"^predictor boxed: the network gave 1 channel\(s\)"):
    boxed(lambda batch: {"logits": batch["image"]}, case(head()), **SIZES)
