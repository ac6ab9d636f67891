"""Deletion, insertion and the pointing game, on networks whose answer is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.explain import quality, randomisation
from jaxseg.explain.baselines import BASELINES, blur


def apply(params, image):
  """The class at every voxel is told by the sum over the left half of the image."""
  left = image[:, :, : image.shape[2] // 2].mean((1, 2), keepdims=True)
  logits = jnp.concatenate([-left, left], -1) * params
  return {"logits": jnp.broadcast_to(logits, (*image.shape[:-1], 2))}


IMAGE = np.ones((1, 4, 8, 1), np.float32)
TARGET = np.zeros((1, 4, 8, 2), np.float32)
TARGET[..., 1] = 1
LEFT = np.zeros((4, 8))
LEFT[:, :4] = 1


def test_a_map_of_what_counts_has_the_smallest_area_of_deletion_and_the_largest_of_insertion():
  options = dict(steps=32, baseline="zero")
  areas = {
    name: [
      getattr(quality, kind)(apply, 4.0, IMAGE, TARGET, values, **options).area
      for kind in ("deletion", "insertion")
    ]
    for name, values in {"good": LEFT, "bad": -LEFT, "none": np.zeros((4, 8))}.items()
  }
  assert areas["good"][0] < areas["none"][0] < areas["bad"][0]
  assert areas["good"][1] > areas["none"][1] > areas["bad"][1]


def test_the_curve_is_the_probability_with_so_many_voxels_covered():
  curve = quality.deletion(apply, 4.0, IMAGE, TARGET, LEFT, steps=4, baseline="zero")
  left = np.maximum(1 - 2 * curve.shares, 0)
  np.testing.assert_allclose(curve.confidence, 1 / (1 + np.exp(-8 * left)), rtol=1e-5)
  expected = np.trapezoid(curve.confidence, [0, 0.25, 0.5, 0.75, 1])
  assert curve.area == pytest.approx(expected)


def test_what_a_target_takes_from_other_classes_is_no_part_of_its_confidence():
  margin = TARGET.copy()
  margin[..., 0] = -1
  plain, other = (quality.deletion(apply, 4.0, IMAGE, t, LEFT) for t in (TARGET, margin))
  np.testing.assert_allclose(plain.confidence, other.confidence)


def test_the_pointing_game_looks_at_the_highest_value_and_at_the_share_inside():
  values = np.array([[0, 3, 1], [-9, 0, 4]])
  label = np.array([[1, 1, 0], [1, 0, 0]])
  assert quality.pointing(values, label) == (False, 3 / 8)
  assert quality.pointing(values, label, tolerance=1).hit
  assert quality.pointing(-values, label) == (True, 1.0)
  assert quality.pointing(np.zeros((2, 3)), label) == (False, 0.0)
  with pytest.raises(ValueError, match="the label has no voxel of the class"):
    quality.pointing(values, np.zeros((2, 3)))


def test_the_cascade_makes_everything_random_in_the_end_and_nothing_below_at_first():
  trained = {"net": {name: {"kernel": np.zeros(2)} for name in ("a", "b", "c")}, "other": 0}
  fresh = {"net": {name: {"kernel": np.ones(2)} for name in ("a", "b", "c")}, "other": 1}
  steps = randomisation.cascade(trained, fresh, ("c", "b", "a"), most=3)
  assert [name for name, _ in steps] == ["c", "b", "a", "all"]
  sums = [sum(float(tree["net"][n]["kernel"].sum()) for n in "abc") for _, tree in steps]
  assert sums == [2, 4, 6, 6]
  assert steps[0][1]["net"]["c"]["kernel"].sum() == 2
  assert [tree["other"] for _, tree in steps] == [0, 0, 0, 1]


def test_a_map_of_the_image_alone_survives_random_weights_and_one_of_the_weights_does_not():
  random = np.random.default_rng(0)
  maps = {"trained": random.random((24, 24)), "random": random.random((24, 24))}
  steps = [("head", "random"), ("all", "random")]
  same = randomisation.check(lambda params: maps["trained"], steps, maps["trained"])
  assert same.survives
  assert same.similarity[-1] == pytest.approx(1)
  other = randomisation.check(lambda params: maps[params], steps, maps["trained"])
  assert not other.survives


def test_what_no_map_reaches_does_not_make_two_maps_alike():
  maps = np.zeros((2, 40, 40))
  maps[:, 15:25, 15:25] = np.random.default_rng(0).random((2, 10, 10))
  assert randomisation.likeness(*maps) < 0.5
  assert randomisation.likeness(maps[0], 3 * maps[0]) == pytest.approx(1)


def test_baselines_show_nothing_and_keep_the_level():
  image = jnp.asarray(np.random.default_rng(0).standard_normal((1, 32, 48, 2)), jnp.float32)
  for name, of in BASELINES.items():
    assert of(image).shape == image.shape, name
  flat = jnp.full((1, 32, 48, 1), 3.0)
  np.testing.assert_allclose(blur(flat), flat, rtol=1e-4)
  assert float(blur(image).std()) < 0.3 * float(image.std())
