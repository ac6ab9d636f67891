"""Fine-tuning as a config says it: an encoder's layers, and whose norms are kept until when."""

import math

import pytest

from jaxseg import defaults
from jaxseg.build import plain
from jaxseg.compose import (
  complete,
  frozen_from_nothing,
  frozen_networks,
  networks_by_role,
  optimisers_by_role,
)
from jaxseg.method import Learner

ENCODER = dict(name="resnet18", width=4, blocks=(1, 1))
NETWORK = dict(name="encoder_unet", encoder=ENCODER, widths=(8, 8, 4))


def config(method="supervised", **optimiser):
  made = defaults.config()
  made.steps = 40
  made.network = NETWORK
  made.method = dict(name=method)
  made.optimiser.update(optimiser)
  if method == "adversarial":
    made.networks = dict(critic=dict(name="patch_critic", widths=(4, 8), norm="batch"))
  return made


def test_the_layers_of_an_encoder_are_its_own():
  by_word, by_patterns = (
    optimisers_by_role(complete(config(layers=layers, unfreeze=(10, 20, 30))))["optimiser"]
    for layers in (
      "encoder",
      (("encoder/conv1", "encoder/bn1"), "encoder/layer1", "encoder/layer2"),
    )
  )
  params = {"encoder": {"conv1": 1.0, "bn1": 1.0, "layer1": 1.0, "layer2": 1.0}, "head": 1.0}
  a, b = by_word.init(params), by_patterns.init(params)
  assert str(a) == str(b)
  with pytest.raises(ValueError, match=r"^config\.optimiser\.unfreeze: 2 moment\(s\) for 3 layer"):
    complete(config(layers="encoder", unfreeze=(10, 20)))


def test_a_word_that_is_no_part_with_layers_is_refused():
  with pytest.raises(ValueError, match=r"^config\.optimiser\.layers: 'decoder' is no .*'encoder'"):
    complete(config(layers="decoder", layer_decay=0.5))
  made = config(layers="encoder", layer_decay=0.5)
  made.network = dict(name="unet")
  with pytest.raises(ValueError, match=r"layers: 'encoder' is no part .*expected patterns"):
    complete(made)
  made = config("adversarial")
  made.optimisers = dict(critic=dict(layers="encoder", layer_decay=0.5))
  with pytest.raises(ValueError, match=r"^config\.optimisers\.critic\.layers: 'encoder' is no"):
    complete(made)


def test_the_norms_of_what_is_frozen_are_kept_as_long():
  made = config(
    layers=("encoder/layer1", "encoder/layer2"),
    unfreeze=(10, 0.5),
    scale={"encoder/bn1": 0.0, "encoder/conv1": 0.0},
    accumulate=3,
    frozen_norms="kept",
  )
  made = complete(made)
  nets = networks_by_role(made, 2)
  (frozen,) = frozen_networks(made, nets)
  assert frozen.network is nets["network"]
  until = {
    path: frozen.until(f"{path}/scale")
    for path in ("encoder/bn1", "encoder/layer2/block1/bn1", "encoder/layer1/block1/bn1", "head")
  }
  # the first updates of three batches each that begin at steps 10 and 20
  assert list(until.values()) == [math.inf, 12, 21, 0]
  assert frozen_networks(complete(config()), nets) == []


def test_a_critics_layers_begin_to_learn_by_the_runs_steps_and_so_do_their_norms():
  made = config("adversarial", frozen_norms="kept", scale={"encoder*": 0.0})
  made.method.critic_steps = 2
  made.optimisers = dict(
    critic=dict(layers=("layer1",), unfreeze=(20,), frozen_norms="kept", scale={})
  )
  made = complete(made)
  nets = networks_by_role(made, 2)
  ours, critics = frozen_networks(made, nets)
  assert ours.network is nets["network"]
  assert critics.network is nets["critic"]
  assert critics.until("layer1/norm/scale") == 20
  assert critics.until("encoder/bn1/scale") == 0
  assert ours.until("encoder/bn1/scale") == math.inf


def test_what_is_frozen_at_random_weights_is_told():
  made = complete(config(layers="encoder", unfreeze=(10, 20, 30)))
  params = {"encoder": {"conv1": {"kernel": 1.0}}, "head": {"kernel": 1.0}}
  learners = {"network": Learner(params, {}, ())}
  (note,) = frozen_from_nothing(made, learners, {})
  assert note == (
    "Warning: config.optimiser freezes 1 arrays of 'network', as 'encoder/conv1/kernel', but they "
    "are random: config.initialise.network is missing."
  )
  assert frozen_from_nothing(made, learners, {"network": None}) == ()
  assert frozen_from_nothing(complete(config()), learners, {}) == ()


def test_the_command_line_has_every_option():
  assert {"layers", "layer_decay", "unfreeze", "frozen_norms", "l2_sp", "l2_new"} <= set(
    plain(defaults.fields())["optimiser"]
  )
