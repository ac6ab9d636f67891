"""What a run folder is compared by when training goes on in it."""

import json

import pytest
import tiny

from jaxseg.batch import LabelSpec
from jaxseg.report.gather import gather
from jaxseg.runs import folder as run_folder


@pytest.fixture
def begun(tmp_path):
  run = tiny.experiment()
  run_folder.record(tmp_path, run)
  return tmp_path, run


def rewrite(path, change):
  """A file as earlier versions left it, without digests."""
  told = json.loads(path.read_text())
  told.pop("digests", None)
  change(told)
  path.write_text(json.dumps(told))


def test_a_run_from_before_a_field_existed_goes_on_with_its_default(begun):
  folder, run = begun

  def older(config):
    del config["average"], config["optimiser"]["l2"], config["optimiser"]["accumulate"]
    del config["data"]["prior"], config["evaluate"]["probabilities"]

  rewrite(folder / "config.json", older)
  told = run_folder.describe(folder).config
  assert told["average"] == 0.0
  assert told["data"]["prior"] == {}
  assert told["data"]["patch"] == (16, 16)
  run_folder.record(folder, run)
  # it is not rewritten: nothing was changed
  assert "accumulate" not in json.loads((folder / "config.json").read_text())["optimiser"]


@pytest.mark.parametrize(("field", "value"), [("accumulate", 2), ("l2", 0.1)])
def test_another_value_than_the_default_of_a_missing_field_is_refused(tmp_path, field, value):
  run = tiny.experiment(**{f"optimiser.{field}": value})
  run_folder.record(tmp_path, run)
  rewrite(tmp_path / "config.json", lambda config: config["optimiser"].pop(field))
  with pytest.raises(ValueError, match=f"config.optimiser.{field} was .*, is {value}"):
    run_folder.record(tmp_path, run)


def test_a_network_option_written_out_as_its_default_is_no_change(begun):
  folder, run = begun
  config = run.config
  spelt = {**config, "network": {**config["network"], "kernels": 3}}
  run_folder.check_same(folder, spelt)
  with pytest.raises(ValueError, match=r"config.network.kernels was 3, is 5"):
    run_folder.check_same(folder, {**config, "network": {**config["network"], "kernels": 5}})


def test_a_fold_is_not_resumed_with_cases_it_has_not_held_out(begun):
  folder, run = begun
  moved = tiny.with_main(run, cases=(0, 1, 4, 5))._replace(validation=(2, 3))
  with pytest.raises(ValueError, match=r"with other training cases .*another --workdir"):
    run_folder.record(folder, moved)


def test_labels_of_another_meaning_are_refused(begun):
  folder, run = begun
  renamed = LabelSpec(("background", "bright", "dim"), (0, 5, 9))
  with pytest.raises(ValueError, match=r"it began with the labels .*'dim', 'bright'.*now they are"):
    run_folder.record(folder, tiny.with_dataset(run, labels=renamed))


def test_a_run_goes_on_with_the_class_weights_that_it_began_with(tmp_path):
  run = tiny.experiment()
  counted = {"loss.cross_entropy": [0.25, 0.75]}
  for name, began, now in (
    ("same", {"main": counted}, {"main": {"loss.cross_entropy": [0.25, 0.75 + 1e-9]}}),
    # of earlier versions, which told none and counted those of the main stream
    ("earlier", {}, {"main": counted}),
  ):
    run_folder.record(tmp_path / name, run._replace(class_weights=began))
    run_folder.record(tmp_path / name, run._replace(class_weights=now))
  for name, began, now, words in (
    ("other", {"main": counted}, {"main": {"loss.cross_entropy": [0.3, 0.7]}}, "with other class"),
    (
      "domains",
      {},
      {"main": counted, "mr": counted},
      "stream's labels alone; .* of main, mr ",
    ),
    ("joined", {}, {"main+mr": counted}, r"main stream's labels alone; .* of main\+mr "),
  ):
    run_folder.record(tmp_path / name, run._replace(class_weights=began))
    with pytest.raises(ValueError, match=words):
      run_folder.record(tmp_path / name, run._replace(class_weights=now))


def test_a_run_among_its_own_data_is_refused(tmp_path):
  config = {"data": {"source": {"name": "nnunet_raw", "path": str(tmp_path / "set")}}}
  (tmp_path / "set").mkdir()
  with pytest.raises(ValueError, match=r"set: is the folder of the data .*source\.path"):
    run_folder.check_same(tmp_path / "set", config)
  (tmp_path / "other" / "imagesTr").mkdir(parents=True)
  with pytest.raises(ValueError, match=r"other: is the folder of a data set"):
    run_folder.check_same(tmp_path / "other", config)


def test_runs_of_several_seeds_are_averaged_where_that_is_asked_and_else_named_one_by_one(tmp_path):
  for seed in (0, 10, 2):
    run_folder.record(tmp_path / f"seed_{seed}", tiny.experiment(seed=seed))
  names = [folder.name for folder in run_folder.run_folders(tmp_path, seeds=True)]
  assert names == ["seed_0", "seed_2", "seed_10"]
  with pytest.raises(ValueError, match=r"holds runs of several seeds \(seed_0, ...\).*name one of"):
    run_folder.run_folders(tmp_path)
  with pytest.raises(ValueError, match=r"holds runs of several seeds"):
    gather(tmp_path)
  (tmp_path / "seed_2").rename(tmp_path / "seed_3")
  with pytest.raises(ValueError, match=r"seed_3: holds the run of config.seed=2"):
    run_folder.run_folders(tmp_path, seeds=True)


def test_a_fold_or_a_seed_is_known_by_the_folder_of_all(tmp_path):
  for name, home in (("fold_1", "x"), ("seed_0", "x"), ("run", "x/run")):
    assert run_folder.home(tmp_path / "x" / name) == tmp_path / home
