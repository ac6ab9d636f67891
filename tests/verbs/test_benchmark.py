"""jaxseg benchmark: rows, what is kept, what is refused before anything runs."""

import json

import pytest

from jaxseg.benchmark import children, schema
from jaxseg.verbs.benchmark import main

CONFIG = """
from jaxseg import defaults

def get_config():
  config = defaults.config()
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.data.source = dict(name="phantom", cases=5, size=(24, 24))
  config.data.folder = {folder!r}
  config.data.patch = (16, 16)
  config.data.batch = 2
  return config
"""
MACHINE = {
  "cpu_model": "x",
  "cpu_cores": 2,
  "platform": "cpu",
  "device_kind": "cpu",
  "device_count": 1,
  "versions": {"jax": "1", "jaxlib": "1"},
  "python": "3",
  "xla_flags": "",
}
TIMES = [0.1, 0.11, 0.1, 0.09, 0.1, 0.12]


@pytest.fixture
def config(tmp_path):
  path = tmp_path / "mine.py"
  path.write_text(CONFIG.format(folder=str(tmp_path / "prepared")), encoding="utf-8")
  return f"--config={path}"


@pytest.fixture
def asked(monkeypatch):
  """Rows are not measured but counted; a batch of 8 is too large."""
  seen = []

  def measure(request, devices, say):
    batch = next((int(w[-1]) for w in request["words"] if "data.batch" in w), 2)
    seen.append(batch)
    if batch == 8:
      return {"failed": "out of memory."}
    conditions = {"network": "unet", "dtype": "float32", "patch": [16, 16], "batch": batch}
    loads = {"load_average_begin": 0.0, "load_average_end": 0.0}
    speed = {"images_per_second": 20.0, "images_per_second_per_device": 20.0}
    speed |= {"voxels_per_second": 99.0, "voxels_per_second_per_device": 99.0}
    step = {"median": 0.1, "p10": 0.09, "p90": 0.12, "steps": 6}
    rest = {"unblocked_step_seconds": 0.1, "data_wait_share": 0.0}
    training = {"step_seconds": step, "each_step_seconds": TIMES, **speed, **rest}
    conditions |= {"devices": devices or 1, **loads}
    return {"failed": None, "conditions": conditions, "training": training}

  monkeypatch.setattr(children, "measure", measure)
  monkeypatch.setattr(children, "machine", lambda devices, target: MACHINE)
  return seen


def test_a_config_is_measured_in_a_process_of_its_own_and_written(config, tmp_path, capsys):
  output = tmp_path / "a.json"
  words = [config, "--output", str(output), "--steps=2", "--parts", "training", "flops"]
  main(words)
  told = capsys.readouterr().out
  assert "unet, float32" in told
  assert "2 x 16x16" in told
  assert "ratios only" in told
  results = schema.read(output, "--output")
  (row,) = results["rows"]
  assert row["failed"] is None
  assert row["training"]["step_seconds"]["steps"] == 2
  # a kernel's gradient costs as much as the layer; the first layer's input needs none
  forward, step = (row["flops"][f"{n}_flops_per_step"] for n in ("forward", "model"))
  assert 2 * forward < step < 3 * forward
  assert results["machine"]["platform"] == "cpu"


def test_rows_that_are_there_are_kept_those_that_failed_are_tried_again(
  config, asked, tmp_path, capsys
):
  output = tmp_path / "a.json"
  words = [config, "--output", str(output), "--sweep", "data.batch=1,8"]
  main(words)
  main(words)
  assert asked == [1, 8, 8]
  assert "failed: out of memory." in capsys.readouterr().out
  main([config, "--output", str(output), "--sweep", "data.batch=1,8,4"])
  assert asked == [1, 8, 8, 8, 4]
  main([*words, "--again"])
  assert asked == [1, 8, 8, 8, 4, 1, 8]
  labels = [row["label"] for row in json.loads(output.read_text(encoding="utf-8"))["rows"]]
  assert sorted(labels) == ["data.batch=1", "data.batch=4", "data.batch=8"]


def test_rows_take_turns_in_several_processes_and_missing_turns_alone_are_made_up(
  config, asked, tmp_path, capsys
):
  output = tmp_path / "a.json"
  words = [config, "--output", str(output), "--sweep", "data.batch=1,4,8", "--parts", "training"]
  main([*words, "--processes=2"])
  assert asked == [1, 4, 8, 1, 4]
  table = capsys.readouterr().out
  main([*words, "--processes=3"])
  assert asked == [1, 4, 8, 1, 4, 8, 1, 4]
  rows = {row["label"]: row for row in schema.read(output, "--output")["rows"]}
  assert [len(rows[f"data.batch={n}"]["repeats"]) for n in (1, 4)] == [2, 2]
  assert "100" in table
  with pytest.raises(SystemExit):
    main([config, "--parts", "flops", "--processes=2"])
  assert "--processes: times the part 'training' again" in capsys.readouterr().err


def test_other_options_of_measuring_make_other_rows(config, asked, tmp_path):
  words = [config, "--output", str(tmp_path / "a.json")]
  main([*words, "--steps=3"])
  main([*words, "--steps=4"])
  main([*words, "--steps=4"])
  assert asked == [2, 2]


def test_a_single_row_that_fails_is_an_exit_status(config, asked, capsys):
  with pytest.raises(SystemExit, match="1"):
    main([config, "--config.data.batch=8"])
  assert "out of memory." in capsys.readouterr().out


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    (["--config.data.bach=2"], "bach"),
    (["--sweep", "data.bach=1,2"], r"data\.bach=1: .*bach"),
    (["--sweep", "data.batch=1,0"], r"data\.batch=0: config\.data\.batch"),
    (["--sweep", "network.name=unet,unett"], "network.name=unett: .*unett"),
    (["--devices=3"], r"--devices 3: config\.data\.batch=2 cannot be split over 3 devices"),
    (["--devices=2", "--config.mesh.space=4"], r"config\.mesh .* does not fill them"),
    (["--output=a.txt"], r"ending in \.json"),
    (["--against=nowhere.json"], r"nowhere\.json: not found"),
    (["--time-to=dcie=0.8"], "'dcie' is not evaluated .*did you mean 'dice'"),
    (["--parts", "time_to"], "--time-to: expected METRIC=VALUE"),
    (["--time-to=dice=0.8", "--config.evaluate.every=5000"], r"evaluate\.every=5000"),
    (["--trace=mine.py/trace"], r"--trace mine\.py/trace: lies in .*mine\.py, which is a file"),
    (["--parts", "inference", "--case-size", "8", "8", "8"], "has 3 axes; expected 2"),
  ],
)
def test_what_is_wrong_is_refused_in_a_sentence_before_anything_runs(
  config, asked, words, sentence, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(SystemExit, match=rf"^benchmark: .*{sentence}"):
    main([config, *words])
  assert asked == []


def test_results_of_another_version_or_machine_are_refused(config, asked, tmp_path):
  output = tmp_path / "a.json"
  schema.write(output, schema.empty(MACHINE) | {"version": 2})
  for option in ("--output", "--against"):
    with pytest.raises(SystemExit, match="another version"):
      main([config, f"{option}={output}"])
  schema.write(output, schema.empty({**MACHINE, "cpu_model": "y"}))
  with pytest.raises(SystemExit, match=r"is of another machine \(cpu_model x against y\)"):
    main([config, f"--output={output}"])
  schema.write(output, schema.empty({**MACHINE, "python": "4"}))
  with pytest.raises(SystemExit, match=r"is of other software \(python 3 against 4\)"):
    main([config, f"--output={output}"])
  assert asked == []


def test_a_place_that_cannot_be_written_is_told_before_anything_runs(config, asked):
  with pytest.raises(SystemExit, match=r"benchmark: --output /proc/here: cannot be written"):
    main([config, "--output=/proc/here/a.json"])
  assert asked == []


def test_rows_that_all_fail_are_an_exit_status_those_of_which_some_do_are_not(config, asked):
  main([config, "--sweep", "data.batch=1,8"])
  with pytest.raises(SystemExit, match="1"):
    main([config, "--config.data.batch=8", "--sweep", "network.depth=1,2"])


def test_a_comparison_tells_the_verdict_and_may_be_the_exit_status(config, asked, tmp_path, capsys):
  before = tmp_path / "before.json"
  main([config, f"--output={before}"])
  main([config, f"--against={before}", "--fail-above=1.05"])
  assert "no difference" in capsys.readouterr().out
  results = schema.read(before, "--against")
  results["rows"][0]["training"]["each_step_seconds"] = [t / 2 for t in TIMES]
  schema.write(before, results)
  with pytest.raises(SystemExit, match=r"above --fail-above 1\.05: the config\."):
    main([config, f"--against={before}", "--fail-above=1.05"])
  assert "2.000 of the other's time" in capsys.readouterr().out
  with pytest.raises(SystemExit, match=r"--fail-above: 1 row\(s\) could not be compared"):
    main([config, "--config.data.batch=4", f"--against={before}", "--fail-above=1.05"])


def test_a_limit_without_a_comparison_is_refused(config, asked, capsys):
  with pytest.raises(SystemExit):
    main([config, "--fail-above=1.05"])
  assert "--against, which is missing" in capsys.readouterr().err
