"""Domains of a config: their names and numbers, and what a method by domain refuses before data."""

import copy
import dataclasses

import pytest
from tiny import dataset

from jaxseg import defaults, experiment, feeding
from jaxseg.build import plain
from jaxseg.config import domains
from jaxseg.data.stream import MAIN
from jaxseg.methods import by_domain


def config_of(tmp_path, **changes):
  config = defaults.config()
  config.data.source = dict(name="phantom", cases=6, size=(32, 32))
  config.data.folder = str(tmp_path)
  config.data.patch = (16, 16)
  config.data.batch = 2
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.method = dict(name="unpaired")
  values = plain(config)
  other = dict(source=dict(name="phantom", cases=6, size=(32, 32), seed=3), split={})
  return copy.deepcopy({**values, "streams": {"mr": other}, **changes})


def test_main_is_number_0_and_the_further_streams_follow_by_name():
  config = {"method": {"name": "unpaired"}, "streams": {"t2": {}, "ct": {}}}
  assert domains.names(config) == ("main", "ct", "t2")
  assert [domains.number(config, name) for name in domains.names(config)] == [0, 1, 2]
  batch = {"image": 0, "t2": {"label": 0}, "ct": {"soft_label": 0}, "rest": {"image": 0}}
  assert by_domain.names(batch) == domains.names(config)
  assert domains.number({**config, "method": {"name": "mean_teacher"}}, "ct") is None


def test_a_stream_that_joins_is_of_the_main_domain():
  streams = {"made": {"joins": "beside"}, "mr": {}, "t2": {}}
  config = {"method": {"name": "unpaired"}, "streams": streams}
  assert domains.names(config) == ("main", "made", "mr", "t2")
  numbers = {name: domains.number(config, name) for name in domains.names(config)}
  assert numbers == {"main": 0, "made": 0, "mr": 1, "t2": 2}
  # as the step finds them in a batch that the stream has joined
  batch = {"image": 0, "mr": {"label": 0}, "t2": {"label": 0}}
  assert by_domain.names(batch) == domains.numbered_names(config)


def test_cases_know_the_number_of_their_domain_where_it_counts():
  config = {"method": {"name": "unpaired"}, "streams": {"ct": {}, "mr": {}}}
  for stream, number in ((MAIN, 0), ("ct", 1), ("mr", 2)):
    of = domains.numbered(config, stream, dataset())
    assert of.load(0)["domain"] == of.crop(1, (0, 0), (4, 4))["domain"] == number
  bare = domains.numbered({**config, "method": {"name": "supervised"}}, "ct", dataset())
  assert "domain" not in bare.load(0)


@pytest.mark.parametrize(
  ("name", "method", "words"),
  [
    (None, "unpaired", "runs/a: was trained on the domains main, mr, and treats each otherwise"),
    ("mri", "unpaired", r"runs/a: knows no domain 'mri' \(did you mean 'mr'\?\); expected one of"),
    ("xx", "supervised", "runs/a: knows no domain 'xx'; expected one of main, mr"),
  ],
)
def test_a_domain_that_is_missing_or_unknown_is_told(name, method, words):
  with pytest.raises(ValueError, match=words):
    domains.check({"method": {"name": method}, "streams": {"mr": {}}}, name, "runs/a")


def test_a_run_of_one_stream_has_no_other_domain():
  config = {"method": {"name": "supervised"}, "streams": {}}
  domains.check(config, None, "runs/a")
  with pytest.raises(ValueError, match="expected one of main; it has no other, leave --domain out"):
    domains.check(config, "mr", "runs/a")


def source(**changes):
  return {"name": "phantom", "cases": 6, "size": (32, 32), **changes}


@pytest.mark.parametrize(
  ("streams", "words"),
  [
    ({}, r"config\.streams: is empty, and the method 'unpaired' learns from several domains"),
    ({"mr": {}}, r"config\.streams\.mr\.source: is missing; the stream would be fed the main"),
    (
      {"mr": {"source": source(), "cases": "unlabelled"}},
      r"config\.streams\.mr\.cases: 'unlabelled'; the method 'unpaired' learns every domain from",
    ),
  ],
)
def test_streams_that_are_no_domains_are_told(tmp_path, streams, words):
  with pytest.raises(ValueError, match=words):
    experiment.experiment(config_of(tmp_path, streams=streams))


def sources_with(**changes):
  """Sources of a config, that of the stream with other fields."""

  def of(config):
    plain_source = feeding.source_of(config)
    return plain_source._replace(**changes) if "seed" in config["data"]["source"] else plain_source

  return of


def test_a_domain_without_labels_is_told(tmp_path):
  cases = feeding.source_of(config_of(tmp_path)).cases
  words = r"config\.streams\.mr\.source: its cases have no labels, and the method 'unpaired' learns"
  with pytest.raises(ValueError, match=words):
    experiment.experiment(config_of(tmp_path), sources=sources_with(unlabelled=frozenset(cases)))


def test_domains_that_are_no_one_problem_are_told(tmp_path):
  labels = feeding.source_of(config_of(tmp_path)).labels
  names = (labels.names[0], *labels.names[:0:-1])
  for changes, words in (
    (
      {"labels": dataclasses.replace(labels, names=names)},
      "in common: .*; expected the same classes in the same order",
    ),
    (
      {"labels": dataclasses.replace(labels, names=("background", *"abcdefgh"[: len(names) - 1]))},
      "no class in common; expected the same classes in the same order",
    ),
    (
      {"channels": ("a", "b")},
      r"config\.streams\.mr: its images have 2 channel\(s\), the main stream's 1",
    ),
  ):
    with pytest.raises(ValueError, match=words):
      experiment.experiment(config_of(tmp_path), sources=sources_with(**changes))


def test_what_is_shared_is_told(tmp_path):
  run = experiment.experiment(config_of(tmp_path))
  assert any(note.startswith("Domains main, mr: they share ") for note in run.notes)
  assert run.streams["mr"].dataset.load(0)["domain"] == 1
  assert run.main.dataset.load(0)["domain"] == 0


def test_whose_preparation_images_get_is_told_where_nobody_says_of_which_domain_they_are():
  config = {
    "streams": {"target": {"source": {"name": "phantom"}}},
    "task": {"name": "segmentation"},
  }
  assert domains.note(config, None).endswith("give --domain target")
  assert not domains.note(config, "main")
  assert not domains.note({**config, "task": {"name": "translation"}}, None)
  # the unlabelled rest of the main stream's cases is prepared as they are
  assert not domains.note({**config, "streams": {"unlabelled": {"cases": "unlabelled"}}}, None)
