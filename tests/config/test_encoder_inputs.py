"""An encoder that normalises what is normalised otherwise already is refused."""

import pytest

from jaxseg.config import encoder_inputs


def config(inputs=None, initialise=None, field="network"):
  encoder = {"name": "efficientnet_lite0", **({"inputs": inputs} if inputs else {})}
  network = {"name": "encoder_unet", "encoder": encoder}
  networks = {"teacher": network} if field == "networks" else {}
  own = network if field == "network" else {"name": "unet"}
  starts = {"network": initialise} if initialise else {}
  return {"network": own, "networks": networks, "initialise": starts, "data": {}}


@pytest.mark.parametrize(
  ("inputs", "scheme"),
  [
    (None, {"name": "none"}),
    ("as_is", {"name": "rgb"}),
    ("unit", {"name": "rgb", "maximum": 1.0}),
    ("unit", {"name": "minmax"}),
    ("unit", {"name": "window", "lower": 0, "upper": 1}),
    ("zscore", {"name": "zscore"}),
    ("zscore", {"name": "ct"}),
    ("zscore", {"name": "standard"}),
  ],
)
def test_what_agrees_passes(inputs, scheme):
  encoder_inputs.check(config(inputs), [scheme], "config.data")


@pytest.mark.parametrize(
  ("inputs", "scheme", "words"),
  [
    ("unit", {"name": "zscore"}, r"'rgb' gives, but it is 'zscore', .* expected inputs='zscore'"),
    ("zscore", {"name": "rgb"}, r"'zscore' gives, but it is 'rgb', .* expected inputs='unit'"),
    ("unit", {"name": "none"}, r"but it is 'none', .* twice; expected to leave it out, or config"),
    ("unit", {"name": "window", "signed": True}, r"but it is 'window', .*; expected to leave it"),
  ],
)
@pytest.mark.parametrize("field", ["network", "networks"])
def test_what_would_be_normalised_twice_is_refused(inputs, scheme, words, field):
  place = "networks.teacher" if field == "networks" else "network"
  with pytest.raises(ValueError, match=rf"^config\.{place}\.encoder\.inputs: '{inputs}' .*{words}"):
    encoder_inputs.check(config(inputs, field=field), [{"name": "rgb"}, scheme][1:], "config.data")


def test_weights_of_photographs_without_their_normalisation_are_told():
  package = {"package": "efficientnet_lite0"}
  (note,) = encoder_inputs.notes(config(None, package), [{"name": "zscore"}])
  assert "config.network.encoder.inputs='zscore'" in note
  assert encoder_inputs.notes(config("unit", package), [{"name": "rgb"}]) == ()
  assert encoder_inputs.notes(config(None, "runs/a"), [{"name": "rgb"}]) == ()
  assert encoder_inputs.notes(config(None), [{"name": "rgb"}]) == ()


@pytest.mark.parametrize(
  ("format_", "options", "words"),
  [
    ("efficientnet_lite", {}, ""),
    ("timm_efficientnet_lite", {"padding": "symmetric", "epsilon": 1e-5}, ""),
    ("timm_efficientnet_lite", {"padding": "symmetric"}, r"epsilon: 0\.001, but .*with 1e-05"),
    ("timm_efficientnet_lite", {}, r"padding: 'tensorflow', but .*with 'symmetric'; expected that"),
    (
      "efficientnet_lite",
      {"padding": "symmetric"},
      r"padding: 'symmetric', but .*with 'tensorflow'",
    ),
  ],
)
@pytest.mark.parametrize("learner", ["network", "teacher"])
def test_weights_go_into_encoders_that_pad_as_theirs(format_, options, words, learner):
  network = {"name": "unet", "encoder": {"name": "efficientnet_lite0", **options}}
  own = config() | {"initialise": {learner: {"file": "x.pth", "format": format_}}}
  own |= {"network": network} if learner == "network" else {"networks": {"teacher": network}}
  if not words:
    encoder_inputs.check_origin(own)
    return
  field = "network" if learner == "network" else "networks.teacher"
  with pytest.raises(ValueError, match=rf"^config\.{field}\.encoder\.{words}"):
    encoder_inputs.check_origin(own)


def test_weights_are_checked_for_an_encoder_that_is_named_by_a_word():
  own = config() | {"network": {"name": "encoder_unet", "encoder": "efficientnet_lite0"}}
  own |= {"initialise": {"network": {"file": "x.pth", "format": "efficientnet_lite"}}}
  encoder_inputs.check_origin(own)
  own["initialise"]["network"]["format"] = "timm_efficientnet_lite"
  with pytest.raises(ValueError, match=r"^config\.network\.encoder\.padding: 'tensorflow', but"):
    encoder_inputs.check_origin(own)


def test_classes_of_another_run_beside_the_image_are_no_colours():
  own = {**config("unit"), "data": {"prior": {"run": "runs/low"}}}
  with pytest.raises(
    ValueError, match=r"^config\.network\.encoder\.inputs: 'unit', but beside the"
  ):
    encoder_inputs.check(own, [{"name": "rgb"}], "config.data")
