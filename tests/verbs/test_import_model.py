"""import-model: what a user does next with the run: predict, validate, report, start from it."""

import json

import imageio.v3 as imageio
import nnunet_models as models
import numpy as np
import pytest

from jaxseg.config.file import load_config
from jaxseg.experiment import experiment
from jaxseg.runs import folder as run_folder
from jaxseg.verbs import find_best, import_model, predict, report, train


@pytest.fixture
def raw(tmp_path):
  """Five pictures in nnU-Net's raw format."""
  random, folder = np.random.default_rng(0), tmp_path / "Dataset001_Small"
  for part in ("imagesTr", "labelsTr"):
    (folder / part).mkdir(parents=True)
  for i in range(5):
    image = random.integers(0, 255, (12, 10)).astype(np.uint8)
    imageio.imwrite(folder / "imagesTr" / f"c{i}_0000.png", image)
    imageio.imwrite(folder / "labelsTr" / f"c{i}.png", (image > 128).astype(np.uint8))
  (folder / "dataset.json").write_text(json.dumps(models.dataset()))
  return folder


def test_a_scan_is_segmented_with_two_commands(tmp_path, capsys):
  models.write(tmp_path / "m")
  import_model.main([str(tmp_path / "m"), "--output", str(tmp_path / "run")])
  told = capsys.readouterr().out
  assert f"jaxseg predict --workdir {tmp_path / 'run'} --input IMAGES" in told
  assert "without --data the runs don't know their cases" in told
  picture = np.random.default_rng(0).integers(0, 255, (12, 10)).astype(np.uint8)
  imageio.imwrite(tmp_path / "scan.png", picture)
  words = ["--workdir", tmp_path / "run", "--input", tmp_path / "scan.png", "--mirror"]
  predict.main([*map(str, words), "--output", str(tmp_path / "out")])
  written = imageio.imread(tmp_path / "out" / "scan.png")
  assert written.shape == (12, 10)
  assert set(np.unique(written)) <= {0, 1}


def test_with_its_data_a_run_validates_reports_and_is_compared(raw, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  models.write(tmp_path / "m")
  words = [str(tmp_path / "m"), "--output", str(tmp_path / "run"), "--data", str(raw)]
  import_model.main(words)
  assert f"--config={tmp_path / 'run'}/config.py" in capsys.readouterr().out
  dataset = run_folder.read_dataset(tmp_path / "run", {"training": list, "validation": list})
  # scikit-learn's KFold(5, shuffle=True, random_state=12345) of five cases
  assert dataset["validation"] == ["c0"]
  config = load_config(str(tmp_path / "run" / "config.py"))
  # it stands at its end: what is left to do is to validate
  scores = train.run(config, tmp_path / "run")
  assert list(scores["cases"]) == ["c0"]
  report.report(tmp_path / "run", None)
  best = find_best.find_best([tmp_path / "run"], tmp_path / "best", pairs=False)
  assert best["cases"] == 1
  fresh = load_config(str(tmp_path / "run" / "config.py"))
  fresh.initialise = {"network": str(tmp_path / "run")}
  assert experiment(fresh).starts["network"].weights.run == str(tmp_path / "run")


def test_without_its_data_a_runs_config_asks_for_the_folds_of_others(raw, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  models.write(tmp_path / "m", folds=("4",))
  import_model.main([str(tmp_path / "m"), "--output", str(tmp_path / "run")])
  config = load_config(str(tmp_path / "run" / "config.py"))
  config.data.source.path = str(raw)
  with pytest.raises(FileNotFoundError, match=r"^config\.data\.split\.path: splits.*name='kfold'"):
    experiment(config)
  config.data.split = dict(name="kfold", fold=4, folds=5)
  run = experiment(config)
  assert [run.main.dataset.names[i] for i in run.validation] == ["c2"]


def test_data_of_another_model_are_refused(raw, tmp_path):
  models.write(tmp_path / "m", described=models.dataset({"background": 0, "b": 1}))
  words = [str(tmp_path / "m"), "--output", str(tmp_path / "run"), "--data", str(raw)]
  with pytest.raises(SystemExit, match=r"import-model: --data .*: its labels .* are not the model"):
    import_model.main(words)
  with pytest.raises(
    SystemExit, match=r"--splits s: divides the cases of --data, which is missing"
  ):
    import_model.main([*words[:3], "--splits", "s"])


@pytest.mark.parametrize("folds", ["x", "0,all", "-1", ""])
def test_words_that_name_no_folds_are_refused(tmp_path, folds):
  models.write(tmp_path / "m")
  words = [str(tmp_path / "m"), "--output", str(tmp_path / "run"), f"--folds={folds}"]
  with pytest.raises(SystemExit, match=r"import-model: --folds .*: expected all, or numbers as in"):
    import_model.main(words)


def test_all_cases_may_have_trained(tmp_path, capsys):
  models.write(tmp_path / "m", folds=("all",), trainer_name="nnUNetTrainerDA5")
  import_model.main([str(tmp_path / "m"), "--output", str(tmp_path / "run"), "--folds=all"])
  assert "nnUNetTrainerDA5 trains with another augmentation than" in capsys.readouterr().out
  assert run_folder.read_config(tmp_path / "run")["data"]["split"] == {}
