"""train.py from the command line: what is wrong is told in one sentence; and a whole small run."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import pytest

from jaxseg import defaults
from jaxseg.runs import checkpoint
from jaxseg.verbs import convert, describe, evaluate, predict, train

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


# imports once, then one forked process for each list of words
FORKS = """
import json, os, runpy, sys
from jaxseg import experiment, loop
from jaxseg.verbs import train
for number, words in enumerate(json.loads(sys.argv[1])):
  if os.fork():
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
    continue
  os.dup2(os.open(f"{sys.argv[2]}/{number}", os.O_WRONLY | os.O_CREAT), 2)
  os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
  sys.argv = ["train.py", *words]
  runpy.run_path("train.py", run_name="__main__")
"""
MISTAKES = {
  "config": (["--workdir=x"], "--config is missing"),
  "workdir": (["--config=configs/unet_phantom2d.py"], "--workdir is missing"),
  "file": (["--config=configs/nothing.py", "--workdir=x"], "nothing.py"),
  "field": (
    ["--config=configs/unet_phantom2d.py", "--workdir=x", "--config.netwerk.name=unet"],
    "netwerk",
  ),
  "name": (
    ["--config=configs/unet_phantom2d.py", "--workdir=x", "--config.network.name=unett"],
    "config.network.name: 'unett' is unknown (did you mean 'unet'?); choices: attention_",
  ),
  "folder": (
    [
      "--config=configs/hippocampus_unet3d.py",
      "--workdir=x",
      "--config.data.source.path=/no/such/folder",
    ],
    "/no/such/folder",
  ),
  "fold": (
    ["--config=configs/unet_phantom2d.py", "--workdir=x", "--fold=0", "7"],
    "--fold=0 7: expected all, or numbers from 0 to 4 as in --fold=0,2; ",
  ),
  "rest": (
    ["--config=configs/unet_phantom2d.py", "--workdir=x", "--fold=0", "all"],
    "unexpected argument(s) all",
  ),
  "value": (
    ["--config=configs/unet_phantom2d.py", "--workdir"],
    "Missing value for flag --workdir; flags: --config=FILE, ",
  ),
}


@pytest.fixture(scope="module")
def endings(tmp_path_factory):
  """Name of a mistake -> (exit code, what was said)."""
  place = tmp_path_factory.mktemp("mistakes")
  lists = [
    [word.replace("--workdir=x", f"--workdir={place / 'run'}") for word in words]
    for words, _ in MISTAKES.values()
  ]
  ended = call(json.dumps(lists), str(place), program=("-c", FORKS))
  assert ended.returncode == 0, ended.stderr
  codes = map(int, ended.stdout.split())
  said = [(place / str(number)).read_text(encoding="utf-8") for number in range(len(lists))]
  return dict(zip(MISTAKES, zip(codes, said, strict=True), strict=True))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_no_trace(name, endings):
  code, said = endings[name]
  assert code not in (0, None)
  assert MISTAKES[name][1] in said
  assert "Traceback" not in said


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
  convert.main([f"--config={config}", f"--output={unseen}"])
  predict.main([f"--workdir={run}", f"--input={unseen / 'imagesTr'}", f"--output={out}"])
  scores = tmp_path / "scores.json"
  evaluate.main([str(out), str(unseen / "labelsTr"), f"--json={scores}"])
  told = json.loads((run / "report.json").read_text())["validation"]["mean"]["dice"]
  assert f"{told:.6f}"[:7] in scores.read_text()


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


def test_describe_tells_the_surveys_baseline(capsys, monkeypatch):
  monkeypatch.chdir(ROOT)
  describe.main(["--config=configs/unet_phantom2d.py", "--channels=1", "--classes=7"])
  # 16-32-64-128, two 3x3 convolutions a stage, transposed up-sampling, counted by hand
  widths, total, before = (16, 32, 64, 128), 0, 1
  for width in widths:
    total += 9 * before * width + 9 * width * width + 4 * width
    before = width
  for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True):
    total += 4 * coarse * fine + fine  # transposed convolution with bias
    total += 9 * 2 * fine * fine + 9 * fine * fine + 4 * fine
  total += widths[0] * 7
  assert f"parameters    {total:,}" in capsys.readouterr().out
