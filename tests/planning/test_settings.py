"""A plan's networks are nnU-Net's: parameters of the real plans, and the fields of a config."""

import dataclasses

import jax
import pytest
from abstract import shapes

from jaxseg import networks, planning
from jaxseg.build import build
from jaxseg.data.prepared.normalise import schemes
from jaxseg.networks.blocks import conv
from jaxseg.planning import Description, Fingerprint, Resampling

CT = {
  "max": 900.0,
  "mean": 100.0,
  "median": 90.0,
  "min": -100.0,
  "percentile_00_5": -50.0,
  "percentile_99_5": 300.0,
  "std": 40.0,
}


def planned(shape, spacing, cases, labels, *, preset="default", channels=("MRI",), size=1.0):
  fingerprint = Fingerprint((shape,) * cases, (spacing,) * cases, size, (CT,) * len(channels))
  return planning.plan(fingerprint, Description("set", channels, labels, cases), preset=preset)


@pytest.fixture
def native(monkeypatch):
  """XLA's own convolutions, quicker to trace than what CPU gets; parameters are the same."""
  monkeypatch.setattr(conv, "convolve_on_cpu", conv._native)


# dynamic_network_architectures' parameters, all heads counted
@pytest.mark.parametrize(
  ("plan", "configuration", "classes", "channels", "parameters"),
  [
    (planned((36, 50, 35), (1.0, 1.0, 1.0), 200, 3), "3d_fullres", 3, 1, 5_603_177),
    (
      planned((36, 50, 35), (1.0, 1.0, 1.0), 200, 3, preset="resenc_m"),
      "3d_fullres",
      3,
      1,
      25_895_593,
    ),
    (
      planned((35, 248, 256), (7.7, 1.25, 1.25), 8, 5, preset="resenc_m"),
      "3d_fullres",
      5,
      1,
      101_274_361,
    ),
    (planned((1, 584, 565), (999.0, 1.0, 1.0), 20, 2), "2d", 2, 3, 46_325_134),
  ],
)
def test_planned_networks_have_nnunets_parameters(
  native, plan, configuration, classes, channels, parameters
):
  told = planning.settings(plan, configuration)
  net = build(networks.NETWORKS, told["network"], "network", classes=classes)
  # a small patch has the same parameters
  stride = net.total_stride(len(told["data"]["patch"]))
  assert all(n % s == 0 for n, s in zip(told["data"]["patch"], stride, strict=True))
  outputs, variables = shapes(net, 1, *stride, channels, train=True)
  assert outputs["logits"].shape == (1, *stride, classes)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == parameters


@pytest.mark.parametrize("batch", [2, 3, 4, 9, 12, 49])
def test_as_many_patches_of_a_batch_as_in_nnunet_are_around_foreground(batch):
  # its rule: those from round(batch * (1 - 0.33)) on
  forced = [i for i in range(batch) if i >= round(batch * (1 - 0.33))]
  plan = planned((100, 120, 90), (1.0, 1.0, 1.0), 10, 2)
  full = dataclasses.replace(plan.configuration("3d_fullres"), batch=batch)
  plan = dataclasses.replace(plan, configurations={"3d_fullres": full})
  share = planning.settings(plan, "3d_fullres")["data"]["foreground"]
  assert batch * share == pytest.approx(len(forced))

  plan = planned((100, 120, 30), (1.0, 0.9, 3.0), 10, 2, channels=("CT", "PET"), size=0.5)
  told = planning.settings(plan, "3d_fullres")
  data = told["data"]
  assert (data["spacing"], data["transpose"]) == ((3.0, 1.0, 0.9), (2, 0, 1))
  assert data["slices"] is None
  assert data["crop_nonzero"]
  assert data["resampling"] == {}
  assert data["normalise"] == (
    {"name": "ct", "lower": -50.0, "upper": 300.0, "mean": 100.0, "std": 40.0},
    {"name": "zscore", "nonzero": True},
  )
  assert schemes(data["normalise"], ("CT", "PET")) == data["normalise"]
  assert (told["batch_dice"], told["previous"]) == (False, None)


def test_volumes_in_2d_are_sliced_along_the_first_transposed_axis():
  plan = planned((100, 120, 30), (1.0, 0.9, 3.0), 10, 2)
  data = planning.settings(plan, "2d")["data"]
  assert (data["spacing"], data["slices"]) == ((None, 1.0, 0.9), 0)
  assert len(data["patch"]) == 2


def test_pictures_have_no_slices():
  told = planning.settings(planned((1, 512, 512), (999.0, 1.0, 1.0), 30, 2), "2d")
  data = told["data"]
  assert (data["spacing"], data["transpose"], data["slices"]) == ((1.0, 1.0), (), None)
  assert told["batch_dice"]


def test_a_cascade_tells_where_its_input_comes_from():
  plan = planned((400, 512, 500), (1.0, 0.8, 0.8), 20, 3)
  assert planning.settings(plan, "3d_cascade_fullres")["previous"] == "3d_lowres"
  with pytest.raises(ValueError, match="has no configuration '4d'; choices: 2d, 3d_lowres"):
    planning.settings(plan, "4d")


@pytest.mark.parametrize("change", [{"scores": Resampling(3)}, {"label": Resampling(1, order_z=1)}])
def test_resampling_that_a_config_cannot_say_is_refused_not_passed_over(change):
  plan = planned((100, 120, 90), (1.0, 1.0, 1.0), 10, 2)
  full = plan.configuration("3d_fullres")
  assert planning.settings(plan, "3d_fullres")["data"]["resampling"] == {}
  plan = dataclasses.replace(
    plan, configurations={"3d_fullres": dataclasses.replace(full, **change)}
  )
  with pytest.raises(ValueError, match="one order_z and one force_separate_z for all"):
    planning.settings(plan, "3d_fullres")


def test_images_too_small_for_two_stages_are_told():
  plan = planned((3, 4, 5), (1.0, 1.0, 1.0), 10, 2)
  with pytest.raises(ValueError, match="patch of 3d_fullres has 3 x 4 x 5 voxels, too few"):
    planning.settings(plan, "3d_fullres")
