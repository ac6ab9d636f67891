"""Options of a method that others leave without effect: refused, or told if set to 0 by hand."""

import re

import jax
import numpy as np
import pytest

from jaxseg import compose, defaults, methods, roles
from jaxseg.build import options_of, plain
from jaxseg.config import effects
from jaxseg.losses import cross_entropy, deep_supervision
from jaxseg.methods.effects import EFFECTS, STAGES
from jaxseg.optimisers import learning_rate


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


def test_the_stages_are_of_options_and_optimisers_that_there_are():
  for name, stages in STAGES.items():
    known = options_of(methods.METHODS[name])
    keys = {role.key for role in roles.of_kind(methods.METHODS[name], roles.OPTIMISER).values()}
    assert all(stage.option in known and stage.learner in {*keys, ""} for stage in stages)


def of_two_stages(steps, proposal_steps, **optimiser):
  config = plain(defaults.config())
  net = {"name": "pnet", "features": 2}
  method = {"name": "deepigeos", "proposal_steps": proposal_steps}
  config |= {"steps": steps, "network": net, "networks": {"proposal": net}, "method": method}
  config["optimiser"] |= optimiser
  return config


@pytest.mark.parametrize(
  ("config", "words"),
  [
    (of_two_stages(10, 10), r"proposal_steps: 10 of 10 steps .*answers prompts never learns; exp"),
    (of_two_stages(10, 11), r"proposal_steps: 11 of 10 steps"),
    (
      of_two_stages(10, 6, accumulate=5),
      r"optimiser\.accumulate: 5 .* has 4 of 10 .*answers prompts never .*expected 1 to 4\.$",
    ),
    (
      of_two_stages(10, 2) | {"optimisers": {"proposal": {"accumulate": 3}}},
      r"optimisers\.proposal\.accumulate: 3 .*the proposal would never learn; expected 1 to 2",
    ),
  ],
)
def test_a_stage_that_no_step_is_left_for_is_refused(config, words):
  with pytest.raises(ValueError, match=rf"^config\.(method\.)?{words}"):
    compose.complete(config)


def test_rates_of_two_stages_fall_as_long_as_each_network_learns():
  schedule = {"name": "linear", "start": 1.0, "end": 0.0}
  for proposal_steps, lengths in ((4, {"proposal": 4, "optimiser": 6}), (0, {"proposal": 10})):
    config = compose.complete(of_two_stages(10, proposal_steps, schedule=schedule))
    made = compose.optimisers_by_role(config)
    for key, length in lengths.items():
      tx = made["optimiser" if key == "optimiser" else "proposal_optimiser"]
      params = {"a": np.zeros(1, np.float32)}
      state, rates = tx.init(params), []
      for _ in range(length):
        _, state = jax.jit(tx.update)(params, state, params)
        rates.append(float(learning_rate(state)))
      peak = config["optimiser"]["learning_rate"]
      np.testing.assert_allclose(rates, peak * (1 - np.arange(length) / length), rtol=1e-5)


def late(where, spec):
  config = plain(defaults.config())
  config["method"] = {"name": "pseudo_label"}
  config["streams"] = {"unlabelled": {"cases": "unlabelled", "batch": 2}}
  group, *rest, last = where.split(".")
  of = config[group]
  for name in rest:
    of = of.setdefault(name, {})
  of[last] = spec
  return config | {"steps": 100}


NEVER = {
  "a ramp that begins with the last step": {"name": "linear", "begin": 0.999, "until": 1.0},
  "nothing before the end": {"name": "gaussian", "zero_before": 1.0},
  "a step at the end": {"name": "piecewise", "at": (1.0,), "values": (0, 1)},
}


@pytest.mark.parametrize("spec", NEVER.values(), ids=NEVER)
@pytest.mark.parametrize("where", ["method.weight", "loss.dice.weight", "optimiser.scale"])
def test_what_is_0_until_training_ends_is_refused(where, spec):
  scale = where == "optimiser.scale"
  config = late(where, {"encoder*": spec} if scale else spec)
  field = re.escape(f"{where}['encoder*']" if scale else where)
  with pytest.raises(ValueError, match=rf"^config\.{field}: .*: is 0 in all 100 steps"):
    effects.check_moments(config)


@pytest.mark.parametrize(
  "spec",
  [
    {"name": "linear", "begin": 0.98, "until": 1.0},
    {"name": "gaussian", "zero_before": 0.99},
    {"name": "constant", "value": 0.0},
    {"name": "piecewise", "at": (0.5,), "values": (1, 0)},
    0.0,
    2,
  ],
)
def test_what_counts_in_some_step_or_is_0_by_hand_is_accepted(spec):
  effects.check_moments(late("method.weight", spec))
