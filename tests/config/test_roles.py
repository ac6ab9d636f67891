"""What a config fills a method's roles with, and what is told of those in a wrong place."""

import numpy as np
import optax
import pytest
from flax import linen as nn
from two_networks import adversarial, distilled

from jaxseg import compose, defaults, methods, objectives, roles
from jaxseg.build import plain
from jaxseg.config import roles as config_roles
from jaxseg.losses import Loss
from jaxseg.runs import same_run
from jaxseg.schedules import Schedule


@pytest.fixture(autouse=True)
def _known(monkeypatch):
  for constructor in (adversarial, distilled):
    monkeypatch.setitem(methods.METHODS, constructor.__name__, constructor)


def config_of(scheme="adversarial", **fields):
  config = plain(defaults.config())
  config["method"] = {"name": scheme}
  config["data"]["source"] = {"name": "phantom", "size": (32, 32)}
  config["network"] |= {"widths": (4, 8), "depth": 1, "decoder_depth": 1}
  if scheme == "adversarial":
    config["networks"] = {"critic": {"name": "patch_critic", "widths": (4, 8)}}
  return config | fields


WRONG = {
  "lacks": (
    {"networks": {}},
    r"config\.networks\.critic: is missing; the roles of 'adversarial': network, networks\.critic, "
    r"loss, optimiser, optimisers\.critic\.$",
  ),
  "unknown": (
    {"networks": {"critik": {"name": "patch_critic"}}},
    r"config\.networks\.critik: the method has no such role \(did you mean 'critic'\?\); the roles",
  ),
  "supervised": (
    {"method": {"name": "supervised"}},
    r"config\.networks\.critic: the method has no such role; the roles of 'supervised': network, "
    r"loss, optimiser\.$",
  ),
  "optimiser": ({"optimisers": {"teacher": {}}}, r"config\.optimisers\.teacher: .*no such role"),
  "a loss for losses": (
    {"method": {"name": "supervised"}, "networks": {}, "losses": {"dice": {"weight": 2}}},
    r"config\.losses\.dice: the method has no such role; the roles of 'supervised'",
  ),
  "loss": ({"losses": {"critic": {"dice": {}}}}, r"config\.losses\.critic: .*no such role"),
  "first": ({"networks": {"network": {}, "critic": {}}}, r"expected config\.network\.$"),
  "place": (
    {"networks": {"critic": {}, "critic_optimiser": {}}},
    r"config\.networks\.critic_optimiser: .*wrong place; expected config\.optimisers\.critic\.$",
  ),
  "option": (
    {"networks": {"critic": {}, "fool": {}}},
    r"config\.networks\.fool: is no role but an option of 'adversarial'; .*config\.method\.fool\.$",
  ),
  "role": (
    {"method": {"name": "adversarial", "critic": {"name": "patch_critic"}}},
    r"config\.method\.critic: is no option but a role .*config\.networks\.critic=dict\(\.\.\.\)",
  ),
  "name": (
    {"networks": {"critic": {"name": "patch_critik"}}},
    r"config\.networks\.critic\.name: .*did you mean 'patch_critic'\?",
  ),
  "option of a critic": (
    {"networks": {"critic": {"name": "patch_critic", "width": 3}}},
    r"config\.networks\.critic\.width: 'patch_critic' has no such option \(did you mean 'widths'",
  ),
  "value": (
    {"networks": {"critic": {"name": "patch_critic", "widths": (0,)}}},
    r"config\.networks\.critic\.widths: \(0,\); expected",
  ),
  "no dict": ({"optimisers": {"critic": "adam"}}, r"config\.optimisers\.critic: 'adam'; expected"),
  "rate": ({"optimisers": {"critic": {"name": "adam"}}}, r"optimisers\.critic\.learning_rate: is"),
  "option of adam": (
    {"optimisers": {"critic": {"name": "adam", "learning_rate": 1e-3, "momentum": 0.9}}},
    r"config\.optimisers\.critic\.momentum: 'adam' has no such option",
  ),
  "accumulate": (
    {"optimisers": {"critic": {"accumulate": 2000}}},
    r"config\.optimisers\.critic\.accumulate: 2000",
  ),
  "a critic predicts": ({"network": {"name": "patch_critic"}}, r"config\.network\.name: .*unknown"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_role_in_a_wrong_place_is_one_sentence(case):
  fields, words = WRONG[case]
  with pytest.raises(ValueError, match=words):
    compose.complete(config_of(**fields))


def test_the_parts_of_a_further_loss_are_checked():
  teacher = {"teacher": {"name": "unet"}}
  for parts, words in (
    ({"dise": {}}, r"config\.losses\.distance\.dise\.name: .*did you mean 'dice'\?"),
    ({"dice": {"weight": -1}}, r"config\.losses\.distance\.dice\.weight: -1"),
    ({"dice": {"weight": "much"}}, r"config\.losses\.distance\.dice\.weight: 'much'"),
    (
      {"dice": {"weight": {"name": "linear", "begin": 2.0}}},
      r"config\.losses\.distance\.dice\.weight",
    ),
    (
      {"dice": {"weight": {"name": "complement", "of": "boundary"}}},
      r"config\.losses\.distance\.dice\.weight\.of: 'boundary'",
    ),
    ({"dice": 1}, r"config\.losses\.distance\.dice: expected a dict"),
    ({"dice": None}, r"config\.losses\.distance: at least one loss"),
    ({"dice": {"class_weights": "invers"}}, r"config\.losses\.distance\.dice\.class_weights"),
  ):
    with pytest.raises(ValueError, match=words):
      compose.complete(config_of("distilled", networks=teacher, losses={"distance": parts}))


def test_a_further_loss_has_its_maps_and_its_class_weights():
  parts = {"boundary": {}, "cross_entropy": {"class_weights": "inverse"}}
  config = compose.complete(
    config_of("distilled", networks={"teacher": {"name": "unet"}}, losses={"distance": parts})
  )
  assert set(objectives.maps(config)) == {"distance"}

  weighed = objectives.class_weights(config, lambda: np.array([[90, 10]]))
  assert len(weighed["losses"]["distance"]["cross_entropy"]["class_weights"]) == 2
  assert weighed["losses"]["distance"]["boundary"] == {}
  assert weighed["loss"] == config["loss"]


@pytest.mark.parametrize(
  ("own", "expected"),
  [
    (None, {"name": "adamw", "learning_rate": 1e-3, "clip": 12.0}),
    ({"learning_rate": 2e-4}, {"name": "adamw", "learning_rate": 2e-4, "clip": 12.0}),
    ({"name": "adam", "learning_rate": 2e-4, "b1": 0.5}, None),
  ],
)
def test_a_further_optimiser_is_its_own_or_the_first_with_changes(own, expected):
  config = config_of(optimisers={} if own is None else {"critic": own})
  found = config_roles.spec(config, roles.roles(adversarial)["critic_optimiser"])
  assert found == own if expected is None else expected.items() <= found.items()


def test_factors_by_path_are_those_of_one_network():
  config = config_of(optimisers={"critic": {"learning_rate": 1e-4}})
  config["optimiser"] = {**config["optimiser"], "scale": {"encoder*": 0.0}}
  found = config_roles.spec(config, roles.roles(adversarial)["critic_optimiser"])
  assert "scale" not in found
  assert set(compose.optimisers_by_role(config)) == {"optimiser", "critic_optimiser"}


def test_an_optional_role_stays_empty_and_losses_follow_the_first(monkeypatch):
  # what is around every method
  monkeypatch.setattr(methods.modalities, "masked", lambda scheme: scheme)
  config = compose.complete(config_of("distilled", networks={"teacher": {"name": "unet"}}))
  filled = compose.method(config, compose.networks_by_role(config, 3))
  assert filled["head_optimiser"] is None
  assert filled["teacher"].classes == filled["network"].classes == 3
  assert callable(filled["distance_loss"])
  assert filled["heat"] == 2.0


def test_what_a_role_has_by_default_is_no_change_when_written_out():
  before = config_of()
  critic = {"name": "patch_critic", "widths": (4, 8), "norm": "batch"}
  for fields in (
    {"networks": {"critic": critic}},
    {"optimisers": {"critic": before["optimiser"]}},
    {"optimisers": {"critic": {"learning_rate": 1e-3}}},
    {"optimisers": {"critic": {}}},
  ):
    assert not same_run.differences(before, config_of(**fields), same_run.RESUME)
  changed = config_of(optimisers={"critic": {"learning_rate": 1e-4}})
  found = same_run.differences(before, changed, same_run.RESUME)
  assert found == {"optimisers.critic.learning_rate": (1e-3, 1e-4)}
  # the first one's change is every role's that follows it
  changed = config_of(optimiser=before["optimiser"] | {"learning_rate": 1e-4})
  found = same_run.differences(before, changed, same_run.RESUME)
  assert set(found) == {"optimiser.learning_rate", "optimisers.critic.learning_rate"}


def paced(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  pace: float | Schedule = 1.0,
  rounds: int = 2,
):
  return locals()


def test_every_option_of_a_method_that_may_be_a_schedule_is_made_one(monkeypatch):
  monkeypatch.setitem(methods.METHODS, "paced", paced)
  rising = {"name": "linear", "start": 0.0, "end": 4.0}
  config = compose.complete(
    config_of("paced", method={"name": "paced", "pace": rising, "rounds": 3})
  )
  options = compose.method_options(config)
  assert options["rounds"] == 3
  assert float(options["pace"](config["steps"] // 2)) == pytest.approx(2.0, rel=1e-5)
  with pytest.raises(ValueError, match=r"config\.method\.pace\.name: .*did you mean 'linear'"):
    compose.complete(config_of("paced", method={"name": "paced", "pace": {"name": "linaer"}}))
  again = config_of("paced", method={"name": "paced", "pace": rising | {"begin": 0.0}, "rounds": 3})
  assert not same_run.differences(config, again, same_run.RESUME)


@pytest.mark.parametrize(
  ("method", "learner"),
  [
    ({"name": "supervised"}, "network"),
    ({"name": "mean_teacher", "predict_with": "teacher"}, "teacher"),
    ({"name": "mean_teacher"}, "network"),
    ({"name": "copy_paste"}, "network"),
    ({"name": "cross_pseudo"}, "network"),
    ({"name": "cross_teaching", "predict_with": "other"}, "other"),
  ],
)
def test_the_learner_that_predicts_is_an_option_of_the_method(method, learner):
  assert config_roles.predicting(config_of("supervised", method=method)) == learner
