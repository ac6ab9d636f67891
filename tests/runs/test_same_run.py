"""One run is one config: what may differ on resume, between folds and between members."""

import json

import pytest
import tiny

from jaxseg import defaults
from jaxseg.build import plain
from jaxseg.runs import folder as run_folder
from jaxseg.runs import same_run
from jaxseg.runs.same_run import FOLDS, MEMBERS, RESUME


def config(**changes):
  made = defaults.config()
  made.loss = dict(dice=dict(weight=1.0))
  made.augment = dict(noise=dict())
  made.data.source = dict(name="phantom", size=(32, 32))
  made.update_from_flattened_dict(changes)
  return run_folder.json_like(plain(made))


def replaced(field, value):
  changed = config()
  *path, last = field.split(".")
  inner = changed
  for part in path:
    inner = inner[part]
  inner[last] = value
  return changed


@pytest.mark.parametrize(
  ("field", "value", "where"),
  [
    ("seed", 1, {MEMBERS}),
    ("steps", 2000, {RESUME, MEMBERS}),
    ("steps", 500, {MEMBERS}),
    ("log_every", 3, {RESUME, FOLDS, MEMBERS}),
    ("checkpoint_every", 3, {RESUME, FOLDS, MEMBERS}),
    ("evaluate.every", 3, {RESUME, FOLDS, MEMBERS}),
    ("evaluate.probabilities", True, {RESUME, FOLDS, MEMBERS}),
    ("deterministic", False, {RESUME, FOLDS, MEMBERS}),
    ("data.cache", "disk", {RESUME, FOLDS, MEMBERS}),
    ("data.workers", 3, {RESUME, FOLDS, MEMBERS}),
    ("data.folder", "elsewhere", {RESUME, FOLDS, MEMBERS}),
    ("data.source.path", "/elsewhere", {RESUME, FOLDS, MEMBERS}),
    ("data.split.fold", 1, {FOLDS, MEMBERS}),
    ("data.split.folds", 3, {MEMBERS}),
    ("data.source.size", (64, 64), {MEMBERS}),
    ("data.source.name", "h5", {MEMBERS}),
    ("data.normalise", "none", set()),
    ("data.patch", (16, 16), set()),
    ("data.spacing", (2, 2), set()),
    ("data.batch", 9, {MEMBERS}),
    ("data.prior", {"run": "runs/first"}, set()),
    ("loss.dice.weight", 2.0, {MEMBERS}),
    ("augment.noise.prob", 0.7, {MEMBERS}),
    ("augment.mirror", {}, {MEMBERS}),
    ("optimiser.learning_rate", 1.0, {MEMBERS}),
    ("average", 0.9, set()),
    ("network.widths", (4, 8), set()),
    ("method.head_decay", 0.3, set()),
    ("predictor.overlap", 0.25, set()),
    ("predictor.batch", 1, {RESUME, FOLDS, MEMBERS}),
    ("initialise", {"network": "runs/a"}, {MEMBERS}),
    ("networks", {"critic": {"name": "patch_critic"}}, set()),
    ("losses", {"critic": {"dice": {}}}, {MEMBERS}),
    ("optimisers", {"critic": {"learning_rate": 1.0}}, {MEMBERS}),
  ],
)
def test_the_table_says_where_a_field_may_differ(field, value, where):
  other = replaced(field, value)
  allowed = {at for at in (RESUME, FOLDS, MEMBERS) if not same_run.differences(config(), other, at)}
  assert allowed == where


def test_every_field_of_a_config_is_in_the_table_or_differs_nowhere():
  known = same_run.flat(plain(defaults.config()))
  for name in same_run.MAY_DIFFER:
    # a source's, a split's and a network's options are not in the defaults
    if not name.startswith(("data.source.", "data.split.", "data.prior.", "network")):
      assert any(f"{field}.".startswith(f"{name}.") for field in known), name


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("network.kernels", 3),
    ("network.up", {"name": "linear"}),
    ("network.norm", {"name": "batch"}),
    ("network.dropout", {"rate": 0.0}),
    ("network.bias", {"conv": False}),
    ("method.head_decay", 0.5),
    ("loss.dice.batch", False),
    ("loss.dice.name", "dice"),
    ("augment.noise.name", "noise"),
    ("predictor.weighting", "gaussian"),
    ("optimiser.b1", 0.9),
    ("optimiser.schedule.end", 0.0),
    ("data.source.seed", 0),
    ("data.split.group", None),
    ("data.resampling.order", 3),
    ("data.normalise", {"name": "auto"}),
  ],
)
def test_a_default_that_is_written_out_is_no_change(field, value):
  other = replaced(field, value)
  assert other != config()
  assert not same_run.differences(config(), other, RESUME)
  assert not same_run.differences(other, config(), FOLDS)


def test_what_the_data_tell_where_a_config_is_silent_is_no_default():
  mirrored = config(augment={"mirror": {}})
  # left out, left and right classes swap as the labels say
  other = config(augment={"mirror": {"swap": ()}})
  assert "augment.mirror.swap" in same_run.differences(mirrored, other, RESUME)


def test_the_first_stage_of_a_cascade_may_have_moved():
  a, b = (replaced("data.prior", {"run": run}) for run in ("runs/first", "/elsewhere/first"))
  assert not same_run.differences(a, b, RESUME)
  assert same_run.differences(a, b, MEMBERS) == {
    "data.prior.run": ("runs/first", "/elsewhere/first")
  }


def test_another_component_is_told_by_its_name_alone():
  told = same_run.differences(config(), replaced("network", {"name": "vnet"}), RESUME)
  assert told == {"network.name": ("unet", "vnet")}
  lost = replaced("loss", {"cross_entropy": {"weight": 1.0}})
  found = same_run.differences(config(), lost, RESUME)
  assert found == {
    "loss.dice.name": ("dice", "left out"),
    "loss.cross_entropy.name": ("left out", "cross_entropy"),
  }


def test_entries_where_there_were_none_are_told_alone():
  told = same_run.differences(config(), replaced("optimiser.scale", {"encoder*": 0.1}), RESUME)
  assert told == {"optimiser.scale.encoder*": ("left out", 0.1)}
  told = same_run.differences(replaced("optimiser.scale", {"encoder*": 0.1}), config(), RESUME)
  assert told == {"optimiser.scale.encoder*": (0.1, "left out")}


def test_a_refusal_lists_fields_and_values_and_the_ways_out(tmp_path):
  run = tiny.experiment()
  run_folder.record(tmp_path, run)
  other = tiny.experiment(seed=3, **{"data.batch": 4, "optimiser.clip": 1.0}).config
  before = (tmp_path / "config.json").read_bytes()
  with pytest.raises(ValueError, match=r"no checkpoint yet: remove the folder to start anew"):
    run_folder.check_same(tmp_path, other)
  (tmp_path / "checkpoints" / "4").mkdir(parents=True)
  with pytest.raises(ValueError, match=r"goes on only as it was started") as told:
    run_folder.check_same(tmp_path, other)
  text = str(told.value)
  for part in (
    "config.seed was 0, is 3",
    "config.data.batch was 2, is 4",
    "config.optimiser.clip was 12.0, is 1.0",
    "another --workdir",
    f"--config.initialise.network={tmp_path}",
  ):
    assert part in text
  assert (tmp_path / "config.json").read_bytes() == before


def test_an_ensemble_is_no_start_of_another_run(tmp_path):
  run = tiny.experiment(members=2)
  run_folder.record(tmp_path, run)
  (tmp_path / "checkpoints" / "4").mkdir(parents=True)
  with pytest.raises(ValueError, match=r"config\.members was 2, is 1\. .*run of its own\.$"):
    run_folder.check_same(tmp_path, tiny.experiment().config)


def test_more_steps_change_the_stored_config_in_them_alone(tmp_path):
  run_folder.record(tmp_path, tiny.experiment(steps=6))
  stored = run_folder.read_config(tmp_path)
  for name in ("config.json", "dataset.json"):
    assert "digests" in json.loads((tmp_path / name).read_text())
  data = (tmp_path / "dataset.json").read_bytes()
  run_folder.record(tmp_path, tiny.experiment(steps=9, **{"evaluate.every": 2}))
  now = run_folder.read_config(tmp_path)
  assert (now["steps"], now["evaluate"]["every"]) == (9, 2)
  assert now == stored | {"steps": 9, "evaluate": {**stored["evaluate"], "every": 2}}
  assert (tmp_path / "dataset.json").read_bytes() == data
  with pytest.raises(ValueError, match=r"config.steps was 9, is 6"):
    run_folder.record(tmp_path, tiny.experiment(steps=6))


def test_other_pixels_under_the_same_names_are_refused(tmp_path):
  run = tiny.experiment()
  known = tiny.with_dataset(run, content=lambda i: f"{i:016x}")
  run_folder.record(tmp_path, known)
  run_folder.record(tmp_path, known)
  # a set that does not know its content is taken
  run_folder.record(tmp_path, run)
  other = tiny.with_dataset(run, content=lambda i: f"{i % 4:016x}")
  with pytest.raises(ValueError, match=r"it began when case 'case_4' and 1 more had other voxels"):
    run_folder.record(tmp_path, other)


def test_numbers_of_the_preparation_may_differ_by_rounding_alone(tmp_path):
  run = tiny.experiment()

  def with_mean(mean):
    scheme = {"name": "ct", "lower": 0.0, "upper": 1.0, "mean": mean, "std": 1.0}
    prepared = run.main.dataset.preparation.__class__(("brightness",), 2, (scheme,))
    return tiny.with_dataset(run, preparation=prepared)

  run_folder.record(tmp_path, with_mean(0.5))
  run_folder.record(tmp_path, with_mean(0.5 + 1e-8))
  with pytest.raises(ValueError, match=r"other numbers of the preparation .*normalisation.0.mean"):
    run_folder.record(tmp_path, with_mean(0.6))


def test_a_run_that_lost_its_config_is_not_gone_on_with(tmp_path):
  (tmp_path / "checkpoints" / "4").mkdir(parents=True)
  with pytest.raises(ValueError, match=r"config.json: not found, though there are checkpoints"):
    run_folder.record(tmp_path, tiny.experiment())
  run = tiny.experiment()
  (tmp_path / "checkpoints" / "4").rmdir()
  run_folder.record(tmp_path, run)
  (tmp_path / "checkpoints" / "4").mkdir()
  (tmp_path / "dataset.json").unlink()
  (sentence,) = run_folder.record(tmp_path, run)
  assert "dataset.json: not found, it is written anew" in sentence


def test_a_run_of_an_earlier_version_that_lost_its_dataset_json_is_the_same_run(tmp_path):
  rate = {"name": "sgd", "learning_rate": 0.1, "schedule": {"name": "cosine", "end": 0.5}}
  run = tiny.experiment(optimiser=rate)
  run_folder.record(tmp_path, run)
  old = json.loads((tmp_path / "config.json").read_text())
  for field in ("digests", "networks", "losses", "optimisers"):
    del old[field]
  old["optimiser"]["schedule"]["end"] = 0.05
  (tmp_path / "config.json").write_text(json.dumps(old))
  (tmp_path / "dataset.json").unlink()
  run_folder.record(tmp_path, run)
  owner = run_folder.identity(tmp_path)
  (tmp_path / "dataset.json").unlink()
  # what may change on resume rewrites config.json
  run_folder.record(tmp_path, tiny.experiment(optimiser=rate, log_every=1))
  assert json.loads((tmp_path / "config.json").read_text())["log_every"] == 1
  assert run_folder.identity(tmp_path) == owner
  stored = json.loads((tmp_path / "config.json").read_text())
  assert stored["optimiser"]["schedule"]["end"] == 0.05
  assert run_folder.read_config(tmp_path)["optimiser"]["schedule"]["end"] == 0.5


def test_the_ends_of_a_schedule_were_rates_before_they_were_parts_of_the_peak():
  now = plain(defaults.config())
  now["optimiser"] |= {"learning_rate": 0.01}
  now["optimiser"]["schedule"] = {"name": "warmup_cosine", "start": 0.125, "end": 0.5}
  before = {name: value for name, value in now.items() if name not in ("networks", "task")}
  assert "optimiser.schedule.end" in same_run.differences(before, now, same_run.RESUME)
  absolute = {"name": "warmup_cosine", "start": 0.00125, "end": 0.005}
  before["optimiser"] = {**now["optimiser"], "schedule": absolute}
  assert not same_run.differences(before, now, same_run.RESUME)
  before["optimiser"]["schedule"] = now["optimiser"]["schedule"] = {"name": "polynomial"}
  assert not same_run.differences(before, now, same_run.RESUME)


def test_a_config_that_gives_the_ends_of_a_schedule_as_rates_is_told_the_parts():
  found = {"optimiser.schedule.end": (0.5, 0.005), "optimiser.schedule.start": (0.1, 0.2)}
  words = same_run.given_as_rates(found, {"learning_rate": 0.01})
  assert words == " (a schedule's ends are parts of learning_rate now, no rates: give end=0.5)"
  assert not same_run.given_as_rates({"steps": (2, 1)}, {"learning_rate": 0.01})


def test_a_piecewise_weight_without_values_rose_before_it_fell():
  """On resume the weight would else go from 1 to 0.1, where the run has had 0 to 1."""
  now = plain(defaults.config())
  now["loss"] = {"dice": {"weight": {"name": "piecewise"}}}
  before = {name: value for name, value in now.items() if name not in ("networks", "task")}
  assert "loss.dice.weight.values" in same_run.differences(before, now, same_run.RESUME)
  now["loss"] = {"dice": {"weight": {"name": "piecewise", "values": (0.0, 1.0)}}}
  assert not same_run.differences(before, now, same_run.RESUME)


def test_a_run_to_start_from_may_be_a_word_or_a_dict():
  now = plain(defaults.config())
  before = {**now, "initialise": {"network": "runs/a"}}
  now["initialise"] = {"network": {"run": "runs/a"}}
  assert not same_run.differences(before, now, same_run.RESUME)
  now["initialise"] = {"network": {"run": "runs/b"}}
  assert list(same_run.differences(before, now, same_run.RESUME)) == ["initialise.network.run"]


RULES = {"encoder*": "fsdp"}


@pytest.mark.parametrize(
  ("before", "now"), [("replicated", RULES), (RULES, "fsdp"), (RULES, {"decoder*": "fsdp"})]
)
def test_a_resumed_run_keeps_the_new_rules_of_its_layout_alone(before, now):
  first, then = (replaced("mesh.parameters", rules) for rules in (before, now))
  assert not same_run.differences(first, then, RESUME)
  assert same_run.updated(first, then)["mesh"] == then["mesh"]
  assert first["mesh"]["parameters"] == before


def test_a_run_to_start_from_is_one_place_however_it_is_written(tmp_path, monkeypatch):
  (tmp_path / "a").mkdir()
  (tmp_path / "link").symlink_to(tmp_path / "a")
  monkeypatch.chdir(tmp_path)

  def of(run):
    return config(initialise={"network": run}, networks={"teacher": {"runs": (run, "b")}})

  for written in ("a", "./a/", "b/../a", "link", str(tmp_path / "a")):
    assert same_run.differences(of("a"), of(written), RESUME) == {}
  assert set(same_run.differences(of("a"), of("b"), RESUME)) == {
    "initialise.network.run",
    "networks.teacher.runs",
  }
  assert same_run.differences(config(), of("a"), RESUME)
