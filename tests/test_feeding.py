"""Streams from a config: what they are fed from, what is refused, and that no label leaks."""

import functools
import json

import jax
import numpy as np
import pytest
import run_folders
from stream_methods import confident

from jaxseg import data, defaults, feeding, loop, methods
from jaxseg.build import plain
from jaxseg.compose import complete
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.stream import MAIN, Feeder, sentences
from jaxseg.experiment import experiment
from jaxseg.runs import checkpoint
from jaxseg.runs.folder import record


@pytest.fixture(autouse=True)
def method(monkeypatch):
  monkeypatch.setitem(methods.METHODS, "confident", confident)


def phantom(**options):
  return dict(name="phantom", cases=8, size=(24, 24)) | options


def config_of(folder, **streams):
  config = defaults.config()
  config.steps = 2
  config.log_every = 1
  config.method = dict(name="confident")
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.data.source = phantom()
  config.data.split = dict(name="kfold", fold=0, folds=4, seed=0)
  config.data.folder = str(folder)
  config.data.patch = (16, 16)
  config.data.batch = 2
  config.data.normalise = "zscore"
  config.augment = dict(mirror=dict())
  config.evaluate.every = 100
  config.streams = streams
  return config


def rest(folder, **changes):
  config = config_of(folder, rest=dict(cases="unlabelled", **changes))
  config.data.split.labelled = 2
  return config


def test_slices_of_volumes_join_pictures_whatever_the_predictor(tmp_path):
  volumes = phantom(size=(8, 24, 24), labelled=False, cases=2)
  run = experiment(config_of(tmp_path, rest=dict(source=volumes, slices=1)))
  assert run.streams["rest"].dataset.rank == 3
  element = Feeder(run.streams, cache="disk").element(0)
  assert element["rest"]["image"].shape == (2, 16, 16, 1)


def names(stream):
  return [stream.dataset.names[i] for i in stream.cases]


def feeds(config):
  return feeding.feeds(complete(config))


def test_the_rest_of_a_split_is_fed_without_its_labels(tmp_path):
  run = experiment(rest(tmp_path, batch=4))
  assert len(names(run.main)) == 2
  assert len(names(run.streams["rest"])) == 4
  held = {run.main.dataset.names[i] for i in run.validation}
  assert not held & {*names(run.main), *names(run.streams["rest"])}
  # they have labels on the disk
  stored = run.main.dataset.load(run.streams["rest"].cases[0])
  assert "label" in stored
  for cache in ("device", "host", "disk"):
    feeder = Feeder(run.streams, cache=cache)
    element, store = feeder.element(0), feeder.store()
    assert set(element["rest"]) == (
      {"case", "start"} if cache == "device" else {"image", "spacing"}
    )
    if cache == "device":
      assert set(store["rest"]) == {"image", "spacing", "shape", "offset"}


def test_other_labels_of_the_unlabelled_cases_change_nothing_that_is_learnt(tmp_path, monkeypatch):
  """The proof that none leaks: of other labels on the disk come the same bits."""
  made = data.SOURCES["phantom"]

  @functools.wraps(made)
  def other(**options):
    source = made(**options)
    kept = names(first.main) + [first.main.dataset.names[i] for i in first.validation]

    def read(case):
      raw = source.read(case)
      return raw if case in kept else raw._replace(label=np.zeros_like(raw.label) + 1)

    return source._replace(read=read, fingerprint="other")

  def weights(run, folder):
    loop.train(run, folder)
    kept = checkpoint.Checkpoints(folder, checkpoint.LATEST)
    return kept.arrays(kept.steps[0])

  def config(folder):
    config = rest(folder)
    # numbers of the preparation and of the loss that are counted from labels
    config.data.normalise = "ct"
    config.loss = dict(cross_entropy=dict(class_weights="inverse"))
    return config

  first = experiment(config(tmp_path / "a"))
  before = weights(first, tmp_path / "run_a")
  monkeypatch.setitem(data.SOURCES, "phantom", other)
  second = experiment(config(tmp_path / "b"))
  i = second.streams["rest"].cases[0]
  assert (second.main.dataset.load(i)["label"] != first.main.dataset.load(i)["label"]).any()
  after = weights(second, tmp_path / "run_b")
  assert before.keys() == after.keys()
  for name in before:
    np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_a_source_without_labels_is_fed_whole_with_what_it_changes(tmp_path):
  source = phantom(labelled=False, appearance="mr", seed=5)
  config = config_of(
    tmp_path, rest=dict(source=source, batch=3, normalise="minmax", augment=dict(noise=dict()))
  )
  run = experiment(config)
  stream = run.streams["rest"]
  assert len(stream.cases) == 8
  assert stream.sampling.batch == 3
  image = stream.dataset.load(0)["image"]
  assert (image.min(), image.max()) == (0, 1)
  assert set(stream.dataset.load(0)) == {"image", "spacing"}
  assert stream.sampling.seed == run.main.sampling.seed
  assert stream.sampling.stream != run.main.sampling.stream == 0
  stored = json.loads((stream.dataset.folder / "jaxseg.json").read_text())
  assert all(set(case["arrays"]) == {"image"} for case in stored["cases"])


def test_a_stream_that_changes_nothing_shares_the_main_streams_set(tmp_path):
  run = experiment(rest(tmp_path))
  assert run.streams["rest"].dataset.folder == run.main.dataset.folder
  other = experiment(rest(tmp_path, normalise="minmax"))
  assert other.streams["rest"].dataset.folder != other.main.dataset.folder
  assert other.main.dataset.folder == run.main.dataset.folder


def test_numbers_of_ct_are_the_main_streams_where_a_stream_leaves_them_to_it(tmp_path):
  config = config_of(tmp_path, rest=dict(source=phantom(labelled=False, seed=9)))
  config.data.normalise = "ct"
  run = experiment(config)
  ours, theirs = (of.dataset.preparation.normalisation for of in run.streams.values())
  assert ours == theirs
  assert ours[0]["name"] == "ct"


@pytest.mark.bits
def test_a_run_with_two_streams_goes_on_bit_for_bit(tmp_path):
  def weights(folder):
    kept = checkpoint.Checkpoints(folder, checkpoint.LATEST)
    return kept.arrays(kept.steps[0])

  def run(**changes):
    config = rest(tmp_path / "sets")
    config.update_from_flattened_dict({"steps": 4, "checkpoint_every": 2, **changes})
    return experiment(config)

  report = loop.train(run(), tmp_path / "whole")
  assert 0 <= report["validation"]["mean"]["dice"] <= 1
  run_folders.back_at(2, tmp_path / "whole", tmp_path / "parts")
  loop.train(run(**{"data.cache": "disk"}), tmp_path / "parts")
  whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
  for name in whole:
    np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)
  told = json.loads((tmp_path / "whole" / "dataset.json").read_text())
  assert told["streams"]["rest"]["cases"] == names(run().streams["rest"])


def test_a_run_with_another_stream_is_another_run(tmp_path):
  run_folders.leave(tmp_path / "run", experiment(rest(tmp_path / "sets")), step=1)
  # what it leaves out is the main stream's
  record(tmp_path / "run", experiment(rest(tmp_path / "sets", batch=2)))
  with pytest.raises(ValueError, match=r"config.streams.rest.batch was 2, is 3"):
    loop.train(experiment(rest(tmp_path / "sets", batch=3)), tmp_path / "run")
  changed = experiment(rest(tmp_path / "sets"))
  part = changed.streams["rest"]

  def with_rest(**changes):
    return changed._replace(streams={**changed.streams, "rest": part._replace(**changes)})

  with pytest.raises(ValueError, match=r"it began with other cases of the stream 'rest'"):
    loop.train(with_rest(cases=part.cases[:-1]), tmp_path / "run")
  other = part.dataset._replace(content=lambda i: "other")
  with pytest.raises(ValueError, match=r"when case '.*' of the stream 'rest' had other voxels"):
    loop.train(with_rest(dataset=other), tmp_path / "run")


REFUSED = [
  (dict(rest=dict(cases="unlabelled")), r"config.streams.rest.cases: 'unlabelled', but every case"),
  (dict(rest=dict(cases="some")), r"config.streams.rest.cases: 'some'; expected 'training'"),
  (dict(rest=dict(sorce=1)), r"config.streams.rest.sorce: .*no such field \(did you mean 'source'"),
  (dict(image=dict()), r"config.streams: 'image' is no name of a stream"),
  ({"": dict()}, r"config.streams: '' is no name of a stream"),
  (dict(Rest=dict()), r"config.streams: 'Rest' is no name of a stream"),
  (dict(rest=3), r"config.streams.rest: 3; expected dict"),
  (dict(rest=dict(batch=0)), r"config.streams.rest.batch: 0; expected a whole number from 1"),
  (dict(rest=dict(batch="x")), r"config.streams.rest.batch: 'x'; expected a whole number"),
  (dict(rest=dict(patch=(8, 8, 8))), r"config.streams.rest.patch: \(8, 8, 8\) has 3 axes"),
  (dict(rest=dict(split=dict(name="kfold"))), r"config.streams.rest.split: is for a source"),
  (dict(rest=dict(augment=3)), r"config.streams.rest.augment: 3; expected dict"),
  (dict(rest=dict(augment=dict(mirrr=dict()))), r"config.streams.rest.augment.mirrr"),
  (dict(rest=dict(source=dict(name="phntom"))), r"config.streams.rest.source.name: 'phntom' is"),
  (dict(rest=dict(source=phantom(size=(9,)))), r"size"),
  (
    dict(rest=dict(source=dict(name="phantom", cases=2, size=(16, 16, 16)))),
    r"config.streams.rest.patch: \(16, 16\) has 2 axes, but the cases have rank 3",
  ),
  (
    dict(rest=dict(source=phantom(channels=2, seed=3))),
    r"config.streams.rest: its images have 2 channel\(s\), the main stream's 1",
  ),
  (
    dict(rest=dict(source=phantom(labelled=False, seed=3), normalise="ct")),
    r"config.streams.rest.normalise: 'ct' takes its numbers from the foreground",
  ),
  (
    dict(rest=dict(source=phantom(labelled=False, seed=3), foreground=0.5)),
    r"config.streams.rest.foreground: 0.5, but the cases have no labels",
  ),
  (
    dict(rest=dict(source=phantom(labelled=False, seed=3), split=dict(name="kfold"))),
    r"config.streams.rest.source: none of the 8 case\(s\)",
  ),
  (dict(), r"config.streams: the method is fed from a stream 'rest', which there is not"),
  (dict(rst=dict()), r"a stream 'rest', which there is not \(did you mean 'rst'\?\)"),
  (dict(rest=dict(), more=dict()), r"config.streams.more: the method makes no use of it"),
]


@pytest.mark.parametrize(("streams", "words"), REFUSED, ids=[words[:40] for _, words in REFUSED])
def test_a_stream_that_cannot_be_is_refused_before_data_are_prepared(
  streams, words, tmp_path, monkeypatch
):
  monkeypatch.setattr(data, "prepare", lambda *_, **__: pytest.fail("prepared"))
  with pytest.raises(ValueError, match=words) as error:
    experiment(config_of(tmp_path, **streams))
  assert "\n" not in str(error.value)


def test_labels_where_they_are_needed_are_asked_for(tmp_path, monkeypatch):
  monkeypatch.setattr(data, "prepare", lambda *_, **__: pytest.fail("prepared"))
  config = config_of(tmp_path)
  config.method = dict(name="supervised")
  config.data.source = phantom(labelled=False)
  with pytest.raises(ValueError, match=r"config.data.source: none of the 8 case\(s\) of 'phantom"):
    experiment(config)

  def of_label(network, loss: methods.supervised.Loss, optimiser, *, stream: str = "rest"):
    made = confident(network, loss, optimiser)

    def train_step(state, batch, key):
      jax.eval_shape(lambda: batch[stream]["label"])
      return made.train_step(state, batch, key)

    return made._replace(train_step=train_step)

  of_label.__annotations__ = confident.__annotations__
  monkeypatch.setitem(methods.METHODS, "confident", of_label)
  config = config_of(tmp_path, rest=dict(source=phantom(labelled=False, seed=3)))
  with pytest.raises(ValueError, match=r"config.streams.rest: its cases have no labels, which the"):
    experiment(config)


def test_classes_in_another_order_are_refused(tmp_path, monkeypatch):
  made = data.SOURCES["phantom"]

  def other():
    source = made(cases=8, size=(24, 24))
    names = source.labels.names[:1] + source.labels.names[:0:-1]
    labels = source.labels.__class__(names, source.labels.stored_values)
    return source._replace(labels=labels)

  monkeypatch.setitem(data.SOURCES, "other", other)
  config = config_of(tmp_path, rest=dict(source=dict(name="other")))
  with pytest.raises(ValueError, match=r"config.streams.rest.source: the labels of .* the main"):
    feeds(config)


def test_a_share_that_leaves_a_class_out_is_warned_of(tmp_path):
  from jaxseg.evaluation.while_training import absent_classes

  config = rest(tmp_path)
  config.data.source = phantom(lesions=(0, 1))
  run = experiment(config)
  without = [i for i in range(8) if 6 not in run.main.dataset.locations(i)]
  train = [run.main.dataset.names[i] for i in without if i not in run.validation]
  assert train, "a phantom without a lesion"
  config.data.split.labelled = (train[0],)
  (sentence, *_) = absent_classes(experiment(config))
  assert "none of the 1 training cases holds lesion" in sentence


def test_a_plan_would_count_the_labels_that_a_share_keeps_back(tmp_path):
  config = defaults.planned(str(tmp_path))
  config.data.split = dict(labelled=2)
  with pytest.raises(ValueError, match=r"config.data.split.labelled: the plan measures the labels"):
    experiment(config)


def test_streams_of_a_file_are_plain_and_may_be_taken_out(tmp_path):
  config = config_of(tmp_path, rest=None)
  assert complete(config)["streams"] == {}
  assert set(feeds(config)) == {MAIN}
  assert plain(defaults.config())["streams"] == {}


def test_files_of_marks_are_fed_to_the_stream_that_names_them(tmp_path):
  config = rest(tmp_path / "sets")
  home = tmp_path / "marks"
  home.mkdir()
  of = feeds(config)
  geometry = plain_geometry((24, 24))
  for case in of["rest"].cases:
    data.write_label(home / f"{case}.png", np.full((24, 24), 2), geometry)
  spec = dict(pseudo_label=dict(name="folder", path=str(home)))
  config.streams.rest.fields = spec
  run = experiment(config)
  element = Feeder(run.streams, cache="host").element(0)
  assert "pseudo_label" not in element[MAIN]
  marks = element["rest"]["pseudo_label"]
  assert marks.shape == (2, 16, 16, 7)
  assert marks[..., 2].min() == 1
  assert marks.sum() == 2 * 16 * 16
  missing = sorted(home.iterdir())[0]
  missing.unlink()
  with pytest.raises(
    ValueError, match=rf"config.streams.rest.fields.pseudo_label.path: .*'{missing.stem}'"
  ):
    experiment(config)
  config.streams.rest.fields = dict(pseudo_labl=dict(name="folder", path=str(home)))
  with pytest.raises(ValueError, match=r"config.streams.rest.fields.pseudo_labl: no field that"):
    experiment(config)


def test_a_stream_of_validation_images_is_warned_of(tmp_path):
  with pytest.warns(UserWarning, match=r"config.streams.rest.source: .*2 of its cases validate"):
    feeds(config_of(tmp_path, rest=dict(source=phantom(labelled=False))))


def test_streams_are_told_of_in_a_sentence_each(tmp_path):
  assert sentences(experiment(rest(tmp_path, batch=3)).streams) == [
    "Stream 'rest': 4 case(s) without labels, 3 patches per batch."
  ]
  twin = experiment(config_of(tmp_path, rest=dict(augment=dict())))
  (sentence,) = sentences(twin.streams)
  assert "6 case(s) with labels, 2 patches" in sentence


def test_streams_are_set_on_the_command_line(tmp_path):
  from jaxseg.config.overrides import read_config

  file = tmp_path / "mine.py"
  body = "def get_config():\n  return defaults.config()\n"
  file.write_text(f"from jaxseg import defaults\n\n\n{body}")
  words = ["--config.streams.rest.cases=unlabelled", "--config.streams.rest.batch=8"]
  words += ["--config.data.split.labelled=0.25", "--config.streams.more.source.name=phantom"]
  config, _ = read_config([f"--config={file}", *words])
  assert plain(config.streams) == {
    "rest": {"cases": "unlabelled", "batch": 8},
    "more": {"source": {"name": "phantom"}},
  }
  assert config.data.split.labelled == 0.25


def test_a_second_stage_of_a_cascade_takes_no_further_stream(tmp_path):
  config = rest(tmp_path)
  config.data.prior = dict(run="elsewhere")
  with pytest.raises(ValueError, match=r"config.data.prior: cases of a further stream have no"):
    complete(config)
