"""jaxseg describe: every network of a method, with its counts."""

import json
import math

import pytest
import two_networks

from jaxseg import methods
from jaxseg.networks import NETWORKS
from jaxseg.planning.peak_memory import MARGIN, Memory
from jaxseg.verbs import describe
from jaxseg.verbs.describe import main

CONFIG = """
import two_networks

def get_config():
  config = two_networks.config()
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  return config
"""
# 4x4 convolutions from 3 classes to 4, 8 and 1; a bias where no norm follows, else its scale, bias
CRITIC = (16 * 3 * 4 + 4) + (16 * 4 * 8 + 2 * 8) + (16 * 8 * 1 + 1)


@pytest.fixture
def arguments(tmp_path, monkeypatch):
  monkeypatch.setitem(methods.METHODS, "adversarial", two_networks.adversarial)
  (tmp_path / "mine.py").write_text(CONFIG)
  sizes = ["--channels=2", "--classes=3", "--batch=5", "--patch", "16", "16"]
  return [f"--config={tmp_path / 'mine.py'}", *sizes]


def test_the_networks_of_all_roles_are_told(arguments, capsys):
  main(arguments)
  first, critic = capsys.readouterr().out.split("\nnetwork 'critic'\n")
  assert "input         5x16x16x2 (batch, space, channels)" in first
  assert "input         5x16x16x3 (batch, space, channels)" in critic
  assert f"parameters    {CRITIC:,}" in critic
  assert "PatchCritic" in critic


def test_json_tells_the_same(arguments, capsys):
  main([*arguments, "--json"])
  told = json.loads(capsys.readouterr().out)
  assert told["input"] == [5, 16, 16, 2]
  assert told["networks"].keys() == {"critic"}
  assert told["networks"]["critic"]["input"] == [5, 16, 16, 3]
  assert told["networks"]["critic"]["parameters"] == CRITIC


def test_a_network_that_its_input_does_not_suit_is_one_sentence(arguments):
  with pytest.raises(SystemExit, match=r"describe: config.*patch_critic: an input of \(2, 2\)"):
    main([*arguments[:-2], "2", "2"])


def test_the_training_steps_memory_is_told(arguments, capsys):
  main([*arguments, "--json"])
  told = json.loads(capsys.readouterr().out)["training_memory"]
  parts = told["arguments"] + told["outputs"] + told["temporaries"] - told["aliased"]
  assert told["peak"] == parts > 0


def test_a_prediction_says_how_far_it_may_miss_and_a_plan_what_it_adds():
  text = describe.memory_text(Memory(100 * 2**20, 0, 0, 0), compiled=False)
  assert "100 MiB predicted" in text
  assert "up to 125 MiB" in text
  assert "may need" not in describe.memory_text(Memory(100 * 2**20, 0, 0, 0), compiled=True)
  assert "1.25 times" in describe.fitting_text({"batch": 1, "patch": None}, (8, 8), "2GB")


def test_a_memory_is_planned_for(arguments, capsys, monkeypatch):
  def held(config, nets, shape, classes, **options):
    if shape[1] < 4:
      raise ValueError("too small for the network")
    return Memory(0, 0, 0, 1000 * shape[0] * shape[1] * shape[2])

  monkeypatch.setattr(describe, "step_memory", held)
  main([*arguments, "--json", "--memory=2MB"])
  holds = json.loads(capsys.readouterr().out)["memory_holds"]
  # 6 x 16 x 16 and 2 x 28 x 28 thousand bytes and 25 % for what is not seen, by the stride 2
  assert holds == {"batch": 6, "patch": [28, 28]}


@pytest.mark.parametrize("text", ["8", "-8GB", "lots"])
def test_a_memory_that_makes_no_sense_is_one_sentence(arguments, text):
  with pytest.raises(SystemExit, match=r"describe: --memory: .*; expected"):
    main([*arguments, f"--memory={text}"])


def test_methods_that_take_pairs_alone_are_planned_for(monkeypatch):
  def memory(config, nets, shape, classes):
    if shape[0] % 2:
      raise ValueError("pairs alone")
    return Memory(shape[0] * shape[1] * shape[2], 0, 0, 0)

  monkeypatch.setattr(describe, "step_memory", memory)
  nets = {"network": NETWORKS["unet"](classes=3, widths=(4, 8))}
  fits = describe.fitting({}, nets, (2, 8, 8, 1), 3, math.ceil(MARGIN * 7 * 64))
  assert fits == {"batch": 6, "patch": (14, 14)}
