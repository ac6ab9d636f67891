"""What other runs were trained on and this one scores: with labels refused, without them told."""

import shutil

import pytest

from jaxseg import defaults, sealed
from jaxseg.build import plain
from jaxseg.runs import unseen

VALIDATION = ("b", "c")


def config_of(source, **fields):
  config = plain(defaults.config())
  config["data"]["source"] = source
  return config | fields


def raw(path):
  return {"name": "nnunet_raw", "path": str(path)}


def run_of(folder, source, training, *, streams=(), **fields):
  """A run folder; `streams` are name -> (its field in the config, its cases)."""
  streams = dict(streams)
  config = config_of(source, streams={name: spec for name, (spec, _) in streams.items()}, **fields)
  told = {"training": list(training), "validation": []}
  told["streams"] = {name: {"cases": list(cases)} for name, (_, cases) in streams.items()}
  sealed.write(folder / "config.json", config)
  sealed.write(folder / "dataset.json", told)
  return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
  (tmp_path / "set").mkdir()
  (tmp_path / "other").mkdir()
  (tmp_path / "link").symlink_to(tmp_path / "set")
  monkeypatch.chdir(tmp_path)
  return tmp_path


def leaks(config, run, field="networks.teacher"):
  return unseen.leaks(config, {field: (run,)}, VALIDATION)


def test_a_teacher_of_the_same_files_is_refused_however_they_are_written(home):
  run = run_of(home / "run", raw("link/"), ("a", "b"))
  for written in ("set", "./x/../set", str(home / "set")):
    with pytest.raises(ValueError, match=r"networks.teacher: .*has learnt from 1 of this run's"):
      leaks(config_of(raw(written)), run)
  (note,) = leaks(config_of(raw("other")), run)
  assert note.endswith(
    "if that is one case in both data sets: the validation scores would then be too good."
  )


def test_images_that_were_seen_without_labels_are_told_apart(home):
  streams = {"unlabelled": ({"cases": "unlabelled"}, ("b", "c", "d"))}
  method = {"name": "mean_teacher"}
  run = run_of(home / "run", raw("set"), ("a",), streams=streams, method=method)
  (note,) = leaks(config_of(raw("link")), run)
  assert note == (
    "Warning: config.networks.teacher: run: has seen, without their labels, 2 of this run's "
    "validation cases, as 'b': the scores are of images that were trained on."
  ).replace(" run:", f" {run}:")
  begins = {"initialise.network": run}
  assert unseen.leaks(config_of(raw("link")), {}, VALIDATION, begins) == [
    note.replace("networks.teacher", "initialise.network")
  ]
  # another set is no reason to tell of weights
  assert unseen.leaks(config_of(raw("other")), {}, VALIDATION, begins) == []
  # with labels of others it is refused for these
  run = run_of(home / "more", raw("set"), ("a", "c"), streams=streams, method=method)
  with pytest.raises(ValueError, match=r"has learnt from 1 of this run's validation cases, as 'c'"):
    leaks(config_of(raw("set")), run)


def test_a_generator_has_seen_the_images_of_both_domains_and_no_label(home):
  fields = {"method": {"name": "cyclegan"}, "task": {"name": "translation"}}
  streams = {"target": ({"source": raw("other")}, ("c",))}
  run = run_of(home / "run", raw("set"), ("a", "b"), streams=streams, **fields)
  config = config_of({"name": "translated", "source": raw("link"), "run": str(run)})
  notes = leaks(config, run, "data.source.run")
  assert len(notes) == 1
  assert "has seen, without their labels, 1 of this run's validation cases, as 'b'" in notes[0]
  # and those of the other domain, where it is that which is scored
  config["streams"] = {"unlabelled": {"source": raw(home / "other")}}
  config["evaluate"]["streams"] = ("unlabelled",)
  run = run_of(home / "all", raw("set"), ("a",), streams=streams, **fields)
  (note,) = leaks(config, run, "data.source.run")
  assert "as 'c': the scores are of images that were trained on." in note


def test_groups_count_as_their_cases(home):
  streams = {"unlabelled": ({"cases": "unlabelled"}, ("p1_2",))}
  run = run_of(home / "run", raw("set"), (), streams=streams, method={"name": "mean_teacher"})
  config = config_of(raw("set"))
  config["data"]["split"] = {"name": "kfold", "group": r"(p\d)"}
  (note,) = unseen.leaks(config, {"networks.teacher": (run,)}, ("p1_1",))
  assert "has seen, without their labels, 1 cases of groups that validate here, as 'p1_2'" in note


def test_what_a_run_began_with_has_seen_is_handed_down_though_it_is_gone(home):
  first = run_of(home / "first", raw("set"), ("b",))
  streams = {"unlabelled": ({"cases": "unlabelled"}, ("c",))}
  student = run_of(home / "student", raw("other"), ("x",), streams=streams)
  told = unseen.handed_down([first, home / "weights.npz", first])
  assert told == [{"source": raw("set"), "cases": ["b"], "labelled": True}]
  sealed.write(
    student / "dataset.json",
    {"training": ["x"], "validation": [], "streams": {}, "handed_down": told},
  )
  shutil.rmtree(first)

  last = run_of(home / "last", raw("set"), ("a",))
  own, further = unseen.handed_down([student]), unseen.handed_down([student, last])
  assert own == [{"source": raw("other"), "cases": ["x"], "labelled": True}, *told]
  assert further[-1] == {"source": raw("set"), "cases": ["a", "b"], "labelled": True}

  config = config_of(raw("link"))
  with pytest.raises(ValueError, match=r"networks.teacher: .*student: has learnt from 1 of .*'b'"):
    leaks(config, student)
  (note,) = unseen.leaks(config, {}, VALIDATION, {"initialise.network": student})
  assert note.startswith(f"Warning: config.initialise.network: {student}: has learnt from 1")
