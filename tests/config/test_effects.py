"""Options of a method that others leave without effect: refused, or told if set to 0 by hand."""

import pytest

from jaxseg import compose, defaults, methods
from jaxseg.build import options_of, plain
from jaxseg.config import effects
from jaxseg.losses import cross_entropy, deep_supervision
from jaxseg.methods.effects import EFFECTS


def config_of(name, optimisers=(), **options):
  return {"method": {"name": name, **options}, "optimisers": dict(optimisers), "initialise": {}}


def test_the_table_names_options_that_there_are():
  assert set(EFFECTS) <= set(methods.METHODS)
  for name, rows in EFFECTS.items():
    known = options_of(methods.METHODS[name])
    for row in rows:
      assert row.other in known
      assert row.option in known or row.option.startswith("optimisers.")


@pytest.mark.parametrize(
  ("config", "words"),
  [
    (
      config_of("adversarial", least=0.8),
      r"^config\.method\.least: has no effect with config\.method\.inputs='basic'; expected "
      r"inputs='scaling', or to leave it out\.$",
    ),
    (
      config_of("adversarial", inputs="maps", include_background=False),
      "with .*inputs='maps'; exp",
    ),
    (config_of("cross_pseudo", area=(0.1, 0.2)), r"method\.area: .*cutmix=0\.0; expected a cutmix"),
    (config_of("distillation", places_temperature=2.0), r"method\.places=0\.0; expected a places "),
    (
      config_of("distillation", {"regressor": {"learning_rate": 0.1}}),
      r"^config\.optimisers\.regressor: has no effect with config\.method\.features=0\.0; expected",
    ),
  ],
)
def test_an_option_without_effect_is_refused(config, words):
  with pytest.raises(ValueError, match=words):
    effects.check(config)


def test_what_was_switched_off_by_hand_is_told():
  config = config_of("hung", semi=0.0, threshold=0.3)
  effects.check(config)
  (note,) = effects.notes(config)
  words = "config.method.threshold: has no effect with config.method.semi=0.0."
  assert note == f"Warning: {words}"


@pytest.mark.parametrize(
  "config",
  [
    config_of("adversarial", inputs="scaling", least=0.8),
    config_of("adversarial", inputs="product", include_background=False),
    config_of("hung", threshold=0.3),
    config_of("hung", threshold=0.3, semi={"name": "piecewise", "at": (0.5,), "values": (0, 1)}),
    config_of("cross_pseudo", cutmix=0.5, area=(0.1, 0.2)),
    config_of("distillation", {"regressor": {}}, features=1.0, temperature=4.0),
    config_of("supervised", head_decay=0.4),
  ],
)
def test_what_has_an_effect_is_accepted(config):
  effects.check(config)
  assert effects.notes(config) == ()


@pytest.mark.parametrize("name", methods.FOLLOWERS)
def test_weights_of_a_learner_that_starts_as_another_are_refused(name):
  config = config_of(name) | {"initialise": {"network": "runs/a", "teacher": "runs/b"}}
  words = (
    r"^config\.initialise\.teacher: the method's 'teacher' starts as its 'network' and follows it, "
    r".*; expected config\.initialise\.network, with which both start\.$"
  )
  with pytest.raises(ValueError, match=words):
    effects.check(config)


def test_a_config_is_refused_before_anything_is_built():
  config = plain(defaults.config())
  config["method"] = {"name": "adversarial", "least": 0.8}
  config["networks"] = {"critic": {"name": "patch_critic"}}
  with pytest.raises(ValueError, match=r"config\.method\.least: has no effect with"):
    compose.complete(config)


@pytest.mark.parametrize("options", [{"decay": 0.4}, {"drop_last": True}])
def test_weights_of_heads_leave_no_room_for_others(options):
  with pytest.raises(ValueError, match=rf"'{next(iter(options))}' has no effect beside weights"):
    deep_supervision(cross_entropy, weights=(1.0, 0.5), **options)
