"""What a config's losses and augmentations become."""

import jax
import numpy as np
import pytest

from jaxseg import defaults
from jaxseg.batch import LabelSpec, Target
from jaxseg.build import plain
from jaxseg.experiment import experiment
from jaxseg.feeding import augmentation, mirroring
from jaxseg.objectives import class_weights, losses_by_role

LABELS = np.array([[[0, 0, 0], [0, 1, 2]]])


def config(**class_weights):
  full = plain(defaults.config())
  full["loss"] = {
    key: {"name": "cross_entropy", "class_weights": value} for key, value in class_weights.items()
  }
  return full


def test_named_class_weights_become_numbers():
  given = config(named="inverse", detailed={"name": "effective_number", "beta": 0.5}, own=(1, 2, 3))
  made = class_weights(given, lambda: np.array([[4, 1, 1]]))
  numbers = {key: spec["class_weights"] for key, spec in made["loss"].items()}
  assert numbers["named"] == pytest.approx((0.5, 2, 2))
  # 1 / (1 + 1/2 + 1/4 + 1/8) and 1, scaled to mean 1
  assert numbers["detailed"] == pytest.approx(np.array([8, 15, 15]) * 3 / 38)
  assert numbers["own"] == (1, 2, 3)
  assert given["loss"]["named"]["class_weights"] == "inverse"
  logits = np.zeros((*LABELS.shape, 3), np.float32)
  loss = losses_by_role(made)["loss"]
  assert float(loss(logits, Target(LABELS))) == pytest.approx(3 * np.log(3), rel=1e-5)


def test_cases_are_counted_only_if_a_loss_asks():
  given = config(own=(1, 2, 3), none=None)
  assert class_weights(given, lambda: pytest.fail("counted")) == given


def test_a_misspelt_weighting_is_told_before_any_case_is_read():
  with pytest.raises(
    ValueError, match=r"config\.loss\.dice\.class_weights.*did you mean 'inverse'"
  ):
    class_weights(config(dice="invers"))


def test_an_encoder_does_not_normalise_what_is_normalised_already():
  given = defaults.config()
  encoder = dict(name="resnet18", width=2, blocks=(1,), inputs="unit")
  given.network = dict(name="encoder_unet", encoder=encoder, widths=(4, 4))
  given.data.patch = (8, 8)
  with pytest.raises(
    ValueError, match=r"^config\.network\.encoder\.inputs: 'unit' .*'zscore', and"
  ):
    experiment(given)


def augmented(augment, labels, sample):
  apply, _ = augmentation({**plain(defaults.config()), "augment": augment}, (6, 6), labels)
  return apply(jax.random.key(0), sample)


def test_mirroring_exchanges_the_labels_that_the_data_call_left_and_right():
  labels = LabelSpec(("background", "left", "right"), (0, 1, 2), mirror_pairs=((1, 2),))
  label = np.zeros((6, 6), np.int32)
  label[2, 0], label[3, 4] = 1, 2
  out = augmented({"mirror": {"p": 1.0, "axes": (1,)}}, labels, {"label": label})
  expected = np.zeros((6, 6), np.int32)
  expected[2, 5], expected[3, 1] = 2, 1
  np.testing.assert_array_equal(out["label"], expected)
  kept = augmented({"mirror": {"p": 1.0, "axes": (1,), "swap": ()}}, labels, {"label": label})
  np.testing.assert_array_equal(kept["label"], label[:, ::-1])


def test_a_prior_of_classes_keeps_its_background_apart_and_one_of_regions_has_none():
  # one voxel of class 1: components leave the prior, and the background takes their place
  prior = np.zeros((6, 6, 2), np.float32)
  prior[..., 0] = 1
  prior[2, 3] = 0, 1
  removal = {"prior_components": {"p": 1.0, "largest": 1.0}}
  sample = {"prior": prior}
  classes = augmented(removal, LabelSpec(("background", "a"), (0, 1)), sample)["prior"]
  np.testing.assert_array_equal(classes, np.broadcast_to(np.float32([1, 0]), (6, 6, 2)))
  regions = LabelSpec(("whole", "part"), (0, 1, 2), regions=((1, 2), (2,)))
  np.testing.assert_array_equal(augmented(removal, regions, sample)["prior"], 0.0)


SIDES = LabelSpec(("background", "left", "right"), (0, 1, 2), mirror_pairs=((1, 2),))


@pytest.mark.parametrize(
  ("transpose", "slices", "axis"),
  [
    ((), None, 2),
    ((2, 0, 1), None, 0),
    ((1, 0, 2), None, 2),
    ((), 0, 1),
    ((), 1, 1),
    ((1, 2, 0), 0, 0),
    ((2, 1, 0), 1, 0),
  ],
)
def test_left_and_right_lie_along_x_wherever_it_goes(transpose, slices, axis):
  made = plain(defaults.config())
  made["data"] |= {"transpose": transpose, "slices": slices}
  made["augment"] = {"mirror": {}}
  rank = 3 if slices is None else 2
  told = mirroring(made, SIDES, (6,) * rank)
  assert told == {"mirror_axes": tuple(range(rank)), "swap": ((1, 2),), "swap_axis": axis}


@pytest.mark.parametrize(("code", "axis"), [("LPS", 2), ("ARS", 1), ("PIR", 0)])
def test_left_and_right_lie_where_the_scans_orientation_says(code, axis):
  made = plain(defaults.config())
  assert mirroring(made, SIDES, (6, 6, 6), code)["swap_axis"] == axis
  made["data"]["transpose"] = (2, 0, 1)
  assert mirroring(made, SIDES, (6, 6, 6), code)["swap_axis"] == (2, 0, 1).index(axis)


def test_planes_without_left_and_right_exchange_nothing():
  made = plain(defaults.config())
  made["data"] |= {"transpose": (2, 0, 1), "slices": 0}
  assert mirroring(made, SIDES, (6, 6))["swap"] == ()


def test_prediction_mirrors_as_the_config_told_training():
  made = plain(defaults.config())
  made["augment"] = {"sides": {"name": "mirror", "axes": (-2,), "swap": ((0, 1),), "swap_axis": 0}}
  told = mirroring(made, SIDES, (6, 6))
  assert told == {"mirror_axes": (0,), "swap": ((0, 1),), "swap_axis": 0}
