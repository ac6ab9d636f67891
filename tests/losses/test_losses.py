"""One table of losses through one battery: adding a loss is adding a row.

Golden numbers: Appendix G of the fact sheet (MONAI, PyTorch), or worked out beside the row.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import distances
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from golden_inputs import A_LABELS, A_LOGITS, B_LABELS, B_LOGITS

from jaxseg.batch import Target
from jaxseg.losses import LOSSES

# of curves that bend: as Auto Seg-Loss gives its thetas, four pairs for two curves of two pieces
THETA = (0.1, 0.6, 0.4, 0.2, 0.7, 0.3, 0.5, 0.2, 0.3, 0.8, 0.2, 0.5)
INPUTS = {"A": (A_LOGITS, A_LABELS), "B": (B_LOGITS, B_LABELS)}


def distance_maps(labels):
  return {"distance": np.stack([distances.signed(x, 3) for x in labels]).astype(np.float32)}


def outside(labels):
  """A map of as many classes that no rearranging of voxels changes: 0 inside, 4 mm outside."""
  soft = labels if np.issubdtype(labels.dtype, np.floating) else np.eye(3)[labels]
  return {"distance": (4 * (1 - soft)).astype(np.float32)}


def boxes(labels):
  """Each class's own voxels as the map of its boxes."""
  soft = labels if np.issubdtype(labels.dtype, np.floating) else np.eye(3)[labels]
  return {"box": soft.astype(np.float32)}


def image_of(shape):
  """An image whose every voxel follows from its place."""
  places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
  return np.sin(places @ np.array([1.3, 0.7, 0.4, 0.9])[: len(shape)]).astype(np.float32)[..., None]


class Golden(NamedTuple):
  """A value that is known; `maps` makes the target's of its labels."""

  loss: str
  options: dict[str, Any]
  inputs: str
  value: float
  maps: Callable[[Any], dict] | None = None


GOLDEN = (
  Golden("cross_entropy", {}, "B", 1.069972),
  Golden("cross_entropy", {"label_smoothing": 0.1}, "B", 1.119972),
  Golden("cross_entropy", {"class_weights": (0.2, 0.3, 0.5)}, "B", 0.982175),
  Golden("cross_entropy", {"class_weights": (1, 4, 5)}, "B", 1.112395),
  Golden("cross_entropy", {"sigmoid": True}, "A", 0.240714),
  Golden("cross_entropy", {"sigmoid": True, "positive_weight": 3}, "A", 0.541216),
  Golden("dice", {"sigmoid": True}, "A", 0.212877),
  Golden("dice", {"sigmoid": True, "squared": True}, "A", 0.071444),
  Golden("dice", {"sigmoid": True, "smooth_numerator": 1, "smooth_denominator": 1}, "A", 0.168708),
  Golden("dice", {}, "B", 0.449552),
  Golden("dice", {"include_background": False}, "B", 0.387847),
  # MONAI's DiceLoss(softmax=True, weight=(1, 2, 3)): the weights don't divide
  Golden("dice", {"class_weights": (1, 2, 3)}, "B", 0.799241),
  Golden("dice", {"class_weights": (2, 2, 2)}, "B", 2 * 0.449552),
  Golden("dice", {"squared": True}, "B", 0.305851),
  Golden("generalized_dice", {}, "B", 0.447430),
  Golden("generalized_dice", {"include_background": False}, "B", 0.338195),
  Golden("tversky", {"sigmoid": True}, "A", 0.227469),
  Golden("tversky", {}, "B", 0.443129),
  # Dice and Jaccard are two of its members
  Golden("tversky", {"alpha": 0.5, "beta": 0.5, "include_background": False}, "B", 0.387847),
  Golden("tversky", {"alpha": 1, "beta": 1, "sigmoid": True}, "A", 0.351028),
  Golden("focal_tversky", {"sigmoid": True}, "A", 0.329375),
  Golden("focal_tversky", {}, "B", 0.538112),
  Golden("jaccard", {"sigmoid": True}, "A", 0.351028),
  Golden("focal", {"sigmoid": True}, "A", 0.023036),
  Golden("focal", {"sigmoid": True, "alpha": 0.25}, "A", 0.008605),
  Golden("focal", {}, "B", 0.764691),
  Golden("focal", {"average": "channels"}, "B", 0.254897),
  Golden("focal", {"gamma": 0}, "B", 1.069972),
  Golden("focal", {"gamma": 0, "class_weights": (0.2, 0.3, 0.5)}, "B", 0.982175),
  # alpha stays out of the divisor: weighted cross entropy over N
  Golden("focal", {"gamma": 0, "alpha": (0.2, 0.3, 0.5)}, "B", 0.319207),
  # by hand: -alpha (1 - p)^2 ln p over the sum of (1 - p)^2, of the printed probabilities
  Golden("normalized_focal", {"sigmoid": True}, "A", 0.199167),
  Golden("normalized_focal", {"sigmoid": True, "alpha": 0.25}, "A", 0.148794),
  Golden("normalized_focal", {}, "B", 1.250088),
  Golden("exponential_log", {}, "B", 0.900635),
  Golden("exponential_log", {"smooth": 1e-5}, "B", 0.981999),
  Golden("exponential_log", {"smooth": 1e-5, "gamma_dice": 1, "gamma_cross": 1}, "B", 0.826270),
  Golden("exponential_log", {"cross_weight": 0, "dice_weight": 1}, "B", 0.751767),
  Golden("exponential_log", {"cross_weight": 1, "dice_weight": 0}, "B", 1.496109),
  Golden("combo", {"sigmoid": True}, "A", -0.355467),
  Golden("combo", {"sigmoid": True, "alpha": 1}, "A", 0.120357),
  Golden("combo", {"sigmoid": True, "alpha": 0}, "A", -0.831292),
  Golden("topk_cross_entropy", {"share": 1}, "B", 1.069972),
  # -ln of the label's probability is 0.6041, 0.2395, 0.2664, 3.1698 in B
  Golden("topk_cross_entropy", {}, "B", 3.169846),
  Golden("topk_cross_entropy", {"share": 0.5}, "B", 1.886988),
  Golden("lovasz_softmax", {}, "B", 0.495905),
  # S_p is (0.6978, 0, 0.3535, 0), inside g, and S_g is g: precision 1, sensitivity 2.503256 / 3
  Golden("cldice", {"sigmoid": True, "alpha": 1}, "A", 0.090264),
  Golden("cldice", {"sigmoid": True, "alpha": 0}, "A", 0.168708),
  Golden("cldice", {"sigmoid": True}, "A", 0.129486),
  # from the printed probabilities of A and B
  Golden("entropy", {}, "B", 0.705667),
  Golden("entropy", {"sigmoid": True}, "A", 0.450312),
  Golden("total_variation", {}, "B", 0.875191),
  Golden("total_variation", {"sigmoid": True}, "A", 0.833371),
  Golden("boundary", {}, "B", 0.111153, distance_maps),
  Golden("hausdorff", {"sigmoid": True}, "A", 0.115662),
  # sizes 0.389935, 0.332862, 0.277203
  Golden("size_constraint", {"bounds": ((0.5, 1), (0, 0.2), None)}, "B", 0.014883),
  # -ln(1 - p) of the printed probabilities, where the label is another class
  Golden("box_emptiness", {}, "B", 0.190825, boxes),
  # in so small a patch every box may go on beyond it
  Golden("box_size", {}, "B", 0.0, boxes),
  Golden("box_tightness", {}, "B", 0.0, boxes),
  # the twelve pairs of the printed probabilities, with the image of `image_of`
  Golden("gated_crf", {"radius": 1}, "B", 0.034779),
  Golden("size_constraint", {"bounds": ((2, 4), (0, 0.8), None), "unit": "voxels"}, "B", 0.014883),
  # curves that bend nothing leave the soft metric: Dice and Jaccard above
  Golden("surrogate", {}, "B", 0.449552),
  Golden("surrogate", {"include_background": False}, "B", 0.387847),
  Golden("surrogate", {"metric": "iou", "sigmoid": True}, "A", 0.351028),
  Golden("constant", {}, "B", 0.0),
)


class Row(NamedTuple):
  """A loss for the battery.

  Attributes:
    loss: name in LOSSES.
    options: to test it with.
    perfect: its value when every voxel is predicted with certainty; None where that isn't the
      least one, as the loss doesn't look at the labels.
    ignored: its value when every voxel is ignored.
    neighbours: it looks at neighbouring voxels.
    kinks: its slope jumps, where the order of the voxels changes.
    maps: makes the maps of the target of its labels; None if it needs none.
    boxes: it looks at boxes alone, in which nothing is labelled: at no weight.
  """

  loss: str
  options: dict[str, Any]
  perfect: float | None = 0.0
  ignored: float = 0.0
  neighbours: bool = False
  kinks: bool = False
  maps: Callable[[Any], dict] | None = None
  boxes: bool = False


BATTERY = (
  Row("cross_entropy", {}),
  Row("cross_entropy", {"class_weights": (0.2, 0.3, 0.5)}),
  Row("cross_entropy", {"sigmoid": True}),
  Row("dice", {}),
  Row("dice", {"batch": True}),
  Row("dice", {"squared": True}),
  Row("dice", {"include_background": False}),
  Row("dice", {"sigmoid": True}),
  Row("dice", {"smooth_numerator": 0.0, "smooth_denominator": 0.0}),
  Row("generalized_dice", {}),
  Row("generalized_dice", {"weighting": "simple", "batch": True}),
  Row("generalized_dice", {"smooth_numerator": 0.0, "smooth_denominator": 0.0}),
  Row("generalized_dice", {"sigmoid": True}),
  Row("tversky", {}),
  Row("tversky", {"smooth_numerator": 0.0, "smooth_denominator": 0.0, "batch": True}),
  Row("focal_tversky", {}),
  Row("focal_tversky", {"sigmoid": True, "gamma": 0.5}),
  Row("jaccard", {}),
  Row("jaccard", {"squared": True, "sigmoid": True}),
  Row("focal", {}),
  Row("focal", {"gamma": 0.5, "class_weights": (0.2, 0.3, 0.5)}),
  Row("focal", {"sigmoid": True, "alpha": 0.25}),
  # no gradient passes through its factor: tests/losses/test_normalized_focal.py
  Row("normalized_focal", {}, kinks=True),
  Row("normalized_focal", {"sigmoid": True, "alpha": 0.25, "gamma": 1.0}, kinks=True),
  Row("topk_cross_entropy", {"share": 0.2}, kinks=True),
  Row("topk_cross_entropy", {"share": 0.2, "sigmoid": True}, kinks=True),
  Row("lovasz_softmax", {}, kinks=True),
  Row("lovasz_softmax", {"classes": "all", "batch": False}, kinks=True),
  Row("lovasz_softmax", {"sigmoid": True}, kinks=True),
  Row("lovasz_softmax", {"sigmoid": True, "hinge": True}, kinks=True),
  Row("combo", {}, perfect=-0.5, ignored=-0.5),
  Row("combo", {"sigmoid": True, "beta": 0.7}, perfect=-0.5, ignored=-0.5),
  Row("exponential_log", {}),
  Row("exponential_log", {"sigmoid": True, "smooth": 1e-5}),
  Row("cldice", {"iterations": 2}, neighbours=True, kinks=True),
  Row("cldice", {"sigmoid": True, "batch": True}, neighbours=True, kinks=True),
  Row("boundary", {}, maps=outside),
  Row("boundary", {"sigmoid": True}, maps=outside),
  Row("hausdorff", {}, neighbours=True, kinks=True),
  Row("hausdorff", {"sigmoid": True, "alpha": 1}, neighbours=True, kinks=True),
  Row("hausdorff", {"mode": "erosion"}, neighbours=True, kinks=True),
  Row("constant", {}, perfect=None),
  Row("surrogate", {}),
  Row("surrogate", {"metric": "iou", "theta": THETA, "batch": False}, kinks=True),
  Row("surrogate", {"theta": THETA, "sigmoid": True}, kinks=True),
  Row("surrogate", {"metric": "boundary_iou", "width": 1}, neighbours=True),
  Row("surrogate", {"metric": "boundary_f1", "width": 0}, neighbours=True, kinks=True),
  Row("box_emptiness", {}, maps=boxes, boxes=True),
  Row("box_size", {}, perfect=None, maps=boxes, boxes=True, neighbours=True),
  Row("box_tightness", {"width": 2}, perfect=None, maps=boxes, boxes=True, neighbours=True),
  Row("gated_crf", {"radius": 1, "send": "labelled", "receive": "labelled"}, None, neighbours=True),
  Row("entropy", {}, perfect=None),
  Row("entropy", {"sigmoid": True}, perfect=None),
  Row("total_variation", {}, perfect=None, neighbours=True, kinks=True),
  Row("size_constraint", {"bounds": ((0.5, 0.6), (0.1, 0.2), None)}, perfect=None),
)


def rows(*chosen):
  return pytest.mark.parametrize("row", chosen, ids=lambda row: f"{row.loss} {row.options}")


battery = rows(*BATTERY)
weighed = rows(*(row for row in BATTERY if not row.boxes))
judges = rows(*(row for row in BATTERY if row.perfect is not None))
pointwise = rows(*{row.loss: row for row in reversed(BATTERY) if not row.neighbours}.values())
smooth = rows(*(row for row in BATTERY if not row.kinks))
# what no option changes is tried on one row of each loss: compiling takes the time
each_loss = rows(*{row.loss: row for row in reversed(BATTERY)}.values())


def loss_of(row):
  return functools.partial(LOSSES[row.loss], **row.options)


@functools.cache
def _compiled(loss, options, transform):
  # one compilation serves all tests of a row that use the same shapes
  return jax.jit(transform(functools.partial(LOSSES[loss], **dict(options))))


def _call(row, transform, logits, target):
  if target.weight is None:
    target = target._replace(weight=np.ones(logits.shape[:-1], np.float32))
  target = target._replace(image=image_of(logits.shape[:-1]))
  if row.maps:
    target = target._replace(maps=row.maps(target.labels))
  return _compiled(row.loss, tuple(row.options.items()), transform)(logits, target)


def _as_it_is(loss):
  return loss


def value_and_gradient(row, logits, target):
  return _call(row, jax.value_and_grad, logits, target)


def value_of(row, logits, target):
  return _call(row, _as_it_is, logits, target)


def random_inputs(space=(6, 5), classes=3, seed=0):
  random = np.random.default_rng(seed)
  labels = random.integers(0, classes, (2, *space))
  return random.normal(size=(2, *space, classes)).astype(np.float32), labels


def certain(labels, classes, size=1e4):
  return np.where(labels[..., None] == np.arange(classes), size, -size).astype(np.float32)


def test_every_loss_is_in_the_tables():
  assert {row.loss for row in BATTERY} == set(LOSSES)
  assert {row.loss for row in GOLDEN} == set(LOSSES)


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row.loss} {row.inputs} {row.options}")
def test_known_values(row):
  logits, labels = INPUTS[row.inputs]
  value = value_of(row, logits, Target(labels))
  assert value.dtype == jnp.float32
  assert value.shape == ()
  assert_close(value, row.value, atol=2e-6)


@judges
def test_a_perfect_prediction_has_the_least_loss(row):
  _, labels = random_inputs()
  best, _ = value_and_gradient(row, certain(labels, 3), Target(labels))
  assert_close(best, row.perfect, atol=1e-6)


@battery
def test_extreme_logits_stay_finite(row):
  _, labels = random_inputs()
  value, gradient = value_and_gradient(row, certain((labels + 1) % 3, 3), Target(labels))
  assert np.isfinite(value)
  assert row.perfect is None or value > row.perfect + 0.5
  assert np.isfinite(gradient).all()


@each_loss
def test_logits_that_are_no_numbers_have_a_loss_that_is_none(row):
  logits, labels = random_inputs()
  for broken in (np.full_like(logits, np.nan), np.where(logits == logits.max(), np.nan, logits)):
    assert np.isnan(value_of(row, broken, Target(labels)))


@battery
def test_empty_class_contributes_nothing_harmful(row):
  logits, labels = random_inputs()
  labels = np.where(labels == 2, 0, labels)
  value, gradient = value_and_gradient(row, logits, Target(labels))
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()
  best, _ = value_and_gradient(row, certain(labels, 3), Target(labels))
  assert_close(best, best if row.perfect is None else row.perfect, atol=1e-6)
  # of probabilities whose squares are 0 in float32
  value, gradient = value_and_gradient(row, certain(labels, 3, size=30), Target(labels))
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()


@weighed
def test_ignored_voxels_count_nothing(row):
  logits, labels = random_inputs()
  weight = np.ones(labels.shape, np.float32)
  weight[:, 4:] = 0
  cut = value_of(row, logits[:, :4], Target(labels[:, :4]))
  scrambled = np.where(weight > 0, labels, 2 - labels)
  noisy = np.where(weight[..., None] > 0, logits, 100 * logits)
  ignored, _ = value_and_gradient(row, noisy, Target(scrambled, weight))
  assert_close(ignored, cut)


@weighed
def test_nothing_but_ignored_voxels_is_finite(row):
  logits, labels = random_inputs()
  value, gradient = value_and_gradient(
    row, logits, Target(labels, np.zeros(labels.shape, np.float32))
  )
  assert_close(value, row.ignored, atol=1e-6)
  np.testing.assert_array_equal(gradient, 0)


@each_loss
def test_bfloat16_logits_agree_and_sums_stay_in_float32(row):
  # 1,200 voxels: a bfloat16 sum would stop growing at 256
  logits, labels = random_inputs((24, 25))
  whole = value_of(row, logits, Target(labels))
  half = value_of(row, jnp.asarray(logits, jnp.bfloat16), Target(labels))
  assert half.dtype == jnp.float32
  np.testing.assert_allclose(half, whole, atol=1e-2)


@each_loss
def test_one_hot_soft_labels_equal_integer_labels(row):
  logits, labels = random_inputs()
  soft = np.eye(3, dtype=np.float32)[labels]
  hard, _ = value_and_gradient(row, logits, Target(labels))
  assert_close(value_of(row, logits, Target(soft)), hard)


@pointwise
def test_volumes_are_treated_as_images_are(row):
  logits, labels = random_inputs()
  flat, _ = value_and_gradient(row, logits, Target(labels))
  volume = value_of(row, logits.reshape(2, 3, 2, 5, 3), Target(labels.reshape(2, 3, 2, 5)))
  assert_close(volume, flat)


@smooth
def test_the_gradient_is_that_of_the_value(row):
  logits, labels = random_inputs()
  direction = np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
  slope = (value_and_gradient(row, logits, Target(labels))[1] * direction).sum()
  ends = [
    value_and_gradient(row, logits + s * 1e-2 * direction, Target(labels))[0] for s in (1, -1)
  ]
  np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-2, rtol=2e-2, atol=1e-4)


@battery
def test_labels_of_another_size_are_refused_in_words(row):
  logits, labels = random_inputs()
  with pytest.raises(ValueError, match=r"labels have shape \(2, 6, 4\).*centre_crop_target"):
    loss_of(row)(logits, Target(labels[:, :, :4]))
  with pytest.raises(ValueError, match=r"weight has shape \(2, 6, 4\)"):
    loss_of(row)(logits, Target(labels, np.ones((2, 6, 4))))
  with pytest.raises(ValueError, match="expected integers"):
    loss_of(row)(logits, Target(labels.astype(np.float32)))
