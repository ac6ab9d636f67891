"""train.py from the command line: what is wrong is told in one sentence; and a whole small run."""

import os
import pathlib
import shutil
import subprocess
import sys

import jax
import pytest

from jaxseg import defaults
from jaxseg.runs import checkpoint
from jaxseg.verbs import train

ROOT = pathlib.Path(__file__).parents[2]


def call(*arguments, program=("train.py",), cwd=ROOT):
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  return subprocess.run(
    [sys.executable, *program, *arguments],
    cwd=cwd,
    env=environment,
    capture_output=True,
    text=True,
    # the bar's blocks are no ASCII, which is all that some machines' locale knows
    encoding="utf-8",
    timeout=300,
  )


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--workdir=x"], "--config is missing"),
    (["--config=configs/unet_phantom2d.py"], "--workdir is missing"),
    (["--config=configs/nothing.py", "--workdir=x"], "nothing.py"),
    (
      ["--config=configs/unet_phantom2d.py", "--workdir=x", "--config.netwerk.name=unet"],
      "netwerk",
    ),
    (
      ["--config=configs/unet_phantom2d.py", "--workdir=x", "--config.network.name=unett"],
      r"config.network.name: 'unett' is unknown (did you mean 'unet'?); choices: attention_",
    ),
    (
      [
        "--config=configs/hippocampus_unet3d.py",
        "--workdir=x",
        "--config.data.source.path=/no/such/folder",
      ],
      "/no/such/folder",
    ),
    (
      ["--config=configs/unet_phantom2d.py", "--workdir=x", "--fold=0", "7"],
      "--fold=0 7: expected all, or numbers from 0 to 4 as in --fold=0,2; ",
    ),
    (
      ["--config=configs/unet_phantom2d.py", "--workdir=x", "--fold=0", "all"],
      "unexpected argument(s) all",
    ),
    (
      ["--config=configs/unet_phantom2d.py", "--workdir"],
      "Missing value for flag --workdir; flags: --config=FILE, ",
    ),
  ],
  ids=["config", "workdir", "file", "field", "name", "folder", "fold", "rest", "value"],
)
def test_a_mistake_is_one_sentence_and_no_trace(arguments, message, tmp_path):
  arguments = [a.replace("--workdir=x", f"--workdir={tmp_path / 'run'}") for a in arguments]
  ended = call(*arguments)
  assert ended.returncode not in (0, None)
  assert message in ended.stderr
  assert "Traceback" not in ended.stderr


def test_the_module_lists_its_verbs_and_refuses_others(tmp_path):
  listed = call("--help", program=("-m", "jaxseg"))
  assert listed.returncode == 0
  for verb in ("plan", "train", "predict", "report", "evaluate", "describe", "convert"):
    assert verb in listed.stdout
  assert (
    "no verb 'pridict' (did you mean 'predict'?); choices: plan, train"
    in call("pridict", program=("-m", "jaxseg")).stderr
  )


def test_train_convert_predict_evaluate_agree(tmp_path):
  """The demo's four commands, at a toy size; evaluate gives the score that training reported."""
  import json

  small = [
    "--config=configs/unet_phantom2d.py",
    "--config.steps=2",
    "--config.network.widths=(4,8)",
    "--config.data.batch=2",
    "--config.data.patch=(32,32)",
    "--config.data.source.cases=5",
    "--config.data.source.size=(32,32)",
    f"--config.data.folder={tmp_path / 'prepared'}",
  ]
  run = tmp_path / "run"
  trained = call("train", *small, f"--workdir={run}", program=("-m", "jaxseg"))
  assert trained.returncode == 0, trained.stderr
  config = tmp_path / "small.py"
  config.write_text(
    "import sys, runpy\n"
    "def get_config():\n"
    f"  config = runpy.run_path({str(ROOT / 'configs/unet_phantom2d.py')!r})['get_config']()\n"
    "  config.data.source.cases, config.data.source.size = 5, (32, 32)\n"
    "  return config\n"
  )
  unseen, out = tmp_path / "unseen", tmp_path / "out"
  for arguments in (
    ["convert", f"--config={config}", f"--output={unseen}"],
    ["predict", f"--workdir={run}", f"--input={unseen / 'imagesTr'}", f"--output={out}"],
    ["evaluate", str(out), str(unseen / "labelsTr"), f"--json={tmp_path / 'scores.json'}"],
  ):
    ended = call(*arguments, program=("-m", "jaxseg"))
    assert ended.returncode == 0, ended.stderr
  told = json.loads((run / "report.json").read_text())["validation"]["mean"]["dice"]
  scored = (tmp_path / "scores.json").read_text()
  assert f"{told:.6f}"[:7] in scored


def test_a_run_goes_on_though_what_it_started_from_is_gone(tmp_path):
  def config(steps, folder):
    made = defaults.config()
    made.steps = steps
    made.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
    made.data.source = dict(name="phantom", cases=5, size=(32, 32))
    made.data.patch, made.data.batch, made.data.folder = (32, 32), 2, str(tmp_path / "prepared")
    if folder:
      made.initialise = dict(network=str(tmp_path / folder))
    return made

  def state_of(folder):
    return checkpoint.load_learners(tmp_path / folder)["network"].params

  train.run(config(1, ""), tmp_path / "source")
  train.run(config(1, "source"), tmp_path / "run")
  before = state_of("run")
  shutil.rmtree(tmp_path / "source")
  assert train.run(config(3, "source"), tmp_path / "run")["step"] == 3
  leaves = zip(*(jax.tree.leaves(of) for of in (before, state_of("run"))), strict=True)
  assert any((a != b).any() for a, b in leaves)
  with pytest.raises(
    FileNotFoundError, match=r"^config\.initialise\.network: .*source: there is no"
  ):
    train.run(config(1, "source"), tmp_path / "other")


def test_describe_tells_the_surveys_baseline():
  ended = call(
    "describe",
    "--config=configs/unet_phantom2d.py",
    "--channels=1",
    "--classes=7",
    program=("-m", "jaxseg"),
  )
  assert ended.returncode == 0, ended.stderr
  # 16-32-64-128, two 3x3 convolutions a stage, transposed up-sampling, counted by hand
  widths, total, before = (16, 32, 64, 128), 0, 1
  for width in widths:
    total += 9 * before * width + 9 * width * width + 4 * width
    before = width
  for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True):
    total += 4 * coarse * fine + fine  # transposed convolution with bias
    total += 9 * 2 * fine * fine + 9 * fine * fine + 4 * fine
  total += widths[0] * 7
  assert f"parameters    {total:,}" in ended.stdout
