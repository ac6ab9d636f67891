"""What a config that makes images may not ask for, and what its normalisation becomes."""

import pytest
from made_images import TASK, config

from jaxseg.config.synthesis import check_mirrors, normalisation
from jaxseg.experiment import experiment

REFUSED = {
  "no channel": (
    {"task": {**TASK, "targets": ("t3",)}},
    r"targets: 't3' is no channel",
  ),
  "near": ({"task": {**TASK, "inputs": ("t11",)}}, "did you mean 't1'"),
  "both": ({"task": {**TASK, "targets": ("t1",)}}, "config.task.targets: 't1' is among the inputs"),
  "twice": ({"task": {**TASK, "inputs": ("t1", "t1")}}, "names a channel twice"),
  "none": ({"task": {**TASK, "targets": ()}}, "config.task.targets"),
  "word": ({"task": {**TASK, "targets": "t2"}}, "config.task.targets"),
  "missing": ({"task": dict(name="synthesis", inputs=("t1",))}, "config.task.*targets"),
  "loss": ({"loss": dict(dice=dict())}, "config.loss.dice: 'dice' is a loss of segmentation"),
  "image loss": (
    {"task": dict(name="segmentation")},
    "'l1' is a loss of synthesis",
  ),
  "method": (
    {"method": dict(name="supervised")},
    "config.method: gives .*logits, but .* needs 'image'.*regression",
  ),
  "segmentation": (
    {"task": dict(name="segmentation"), "loss": dict(dice=dict())},
    "config.method: gives .*image, but config.task 'segmentation' needs 'logits'",
  ),
  "range": ({"task": {**TASK, "data_range": 0.0}}, "config.task.data_range: 0.0; .* above 0"),
  "metric": ({"evaluate__metrics": ("dice",)}, r"'dice' is unknown; metrics of synthesis: psnr"),
  "best": ({"evaluate__best": "mse"}, "'mse' is not evaluated while training"),
  "prior": ({"data__prior": dict(run="a")}, "config.data.prior.*a cascade's stages segment"),
  "crop": ({"data__crop_nonzero": True}, "config.data.crop_nonzero"),
  "nonzero": ({"data__normalise": dict(name="zscore", nonzero=True)}, "nonzero=True, but"),
  "zscore": ({"data__normalise": "zscore"}, "of the target 't2': 'zscore' takes each case's own"),
  "probabilities": ({"evaluate__probabilities": True}, "config.evaluate.probabilities"),
  "swap": ({"augment": dict(mirror=dict(swap=((1, 2),)))}, "config.augment.mirror.swap"),
  "intensities of a label": (
    {"task": {**TASK, "inputs": "label"}, "augment": dict(gamma=dict())},
    "config.augment.gamma: changes the intensities of .* a label map's classes",
  ),
  "maps": ({"data__maps": dict(border=dict())}, "config.data.maps"),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_what_images_have_not_is_refused_before_data_are_read(tmp_path, changes, words):
  with pytest.raises(ValueError, match=words):
    experiment(config(tmp_path / "none", **changes))
  assert not (tmp_path / "none").exists()


def test_a_label_that_is_the_input_is_not_mirrored_with_its_sides_unswapped():
  plain = {"task": {"inputs": "label"}, "data": {"patch": (8, 8)}, "augment": {"mirror": {}}}
  with pytest.raises(ValueError, match=r"mirrors left and right.*expected axes=\(0,\)"):
    check_mirrors(plain, ((1, 2),), 1)
  check_mirrors({**plain, "augment": {"mirror": {"axes": (0,)}}}, ((1, 2),), 1)
  check_mirrors(plain, (), 1)
  check_mirrors({**plain, "task": {"inputs": ("t1",)}}, ((1, 2),), 1)


def test_what_is_left_to_the_program_can_be_undone_in_what_is_made():
  options = {"task": TASK, "data": {"normalise": "auto"}}
  assert normalisation(options, ("t1", "t2", "pd")) == ("auto", "standard", "auto")
  own = {"task": TASK, "data": {"normalise": ("minmax", "none", {"name": "auto"})}}
  assert normalisation(own, ("t1", "t2", "pd")) == ("minmax", "none", {"name": "auto"})
  plain = {"task": {"name": "segmentation"}, "data": {"normalise": "auto"}}
  assert normalisation(plain, ("t1", "t2")) == "auto"
