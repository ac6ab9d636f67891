"""A new method moves in without a change of the loop: two networks, two optimisers, two streams."""

import inspect
import pathlib
import re

import numpy as np
import pytest
import run_folders
import two_networks

from jaxseg import data, loop, methods, step
from jaxseg.build import plain
from jaxseg.experiment import experiment
from jaxseg.inference import Case
from jaxseg.runs import checkpoint, load


@pytest.fixture(autouse=True)
def _known(monkeypatch):
  monkeypatch.setitem(methods.METHODS, "adversarial", two_networks.adversarial)


def run(home, steps: int, **critic):
  config = two_networks.config()
  config.networks.critic.update(critic)
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.steps = steps
  config.checkpoint_every = 2
  config.optimiser.schedule = dict(name="constant")
  config.data.source = dict(name="phantom", cases=8, size=(32, 32))
  config.data.patch = (16, 16)
  config.data.batch = 2
  config.data.folder = str(home / "prepared")
  config.data.workers = 1
  config.augment = dict(mirror=dict(), noise=dict())
  return experiment(plain(config))


def test_a_network_that_gives_not_what_its_role_must_is_no_missing_stream(tmp_path):
  wrong = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  with pytest.raises(ValueError, match=r"config\.method: needs 'score', which is no stream, nor"):
    run(tmp_path, 2, **wrong)


def test_the_method_and_its_config_take_60_lines():
  parts = (two_networks.adversarial, two_networks.config)
  assert sum(len(inspect.getsource(part).splitlines()) for part in parts) <= 60


def test_it_trains_resumes_and_predicts_from_its_run_folder(tmp_path):
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  made = run(tmp_path, 4)
  report = loop.train(made, whole)
  assert np.isfinite(report["validation"]["mean"]["dice"])
  loop.train(made, run_folders.back_at(2, whole, parts))
  tables = []
  for folder in (whole, parts):
    kept = checkpoint.Checkpoints(folder)
    tables.append(kept.arrays(kept.steps[0]))
  assert tables[0].keys() == tables[1].keys()
  for name in tables[0]:
    np.testing.assert_array_equal(tables[0][name], tables[1][name], err_msg=name)
  owners = {tuple(name.split("/")[1:3]) for name in tables[0] if name.startswith("learners")}
  assert {(of, part) for of in ("network", "critic") for part in ("params", "opt_state")} <= owners
  rates = {n.split("/")[1]: v for n, v in tables[0].items() if n.endswith("params/learning_rate")}
  assert rates["critic"] == np.float32(2e-4)
  assert rates["network"] == np.float32(1e-3)
  whole.rename(tmp_path / "elsewhere")
  case = Case({"image": np.zeros((24, 24, 1), np.float32), "spacing": np.ones(2, np.float32)})
  scores = load.load(tmp_path / "elsewhere").logits(case)
  assert scores.shape == (24, 24, 7)
  assert np.isfinite(scores).all()


def test_a_critic_that_the_patch_does_not_suit_is_told_before_data_are_read(tmp_path, monkeypatch):
  monkeypatch.setattr(data, "prepare", lambda *_, **__: pytest.fail("prepared"))
  words = r"config: .* patch_critic: an input of \(16, 16\) is too small for 6 stages"
  with pytest.raises(ValueError, match=words):
    run(tmp_path, 4, widths=(2,) * 6)


@pytest.mark.parametrize("module", [loop, step], ids=lambda module: module.__name__)
def test_the_loop_holds_no_methods_name(module):
  text = pathlib.Path(module.__file__).read_text(encoding="utf-8")
  names = {
    *methods.METHODS,
    *(path.stem for path in pathlib.Path(methods.__file__).parent.glob("*.py")),
  }
  names -= {"__init__"}
  assert len(names) > 3
  assert not re.findall(rf"\b({'|'.join(names)})\b", text)
