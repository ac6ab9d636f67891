"""Streams that are fed what validates in another one, however their folders are written."""

import os
from types import SimpleNamespace

import pytest

from jaxseg.data.stream import MAIN
from jaxseg.feed import Feed, Sides, trained_on


def feed(path, *, train=(), validation=(), labelled=True, group=None, **options):
  source = {"name": "paired_folder", "images": str(path), "masks": str(path), **options}
  split = {} if group is None else {"group": group}
  config = {"data": {"source": source, "split": split}}
  sides = Sides(tuple(train), tuple(validation), ())
  return Feed(config, SimpleNamespace(), tuple(train), labelled, sides, None)


@pytest.fixture
def home(tmp_path, monkeypatch):
  (tmp_path / "set").mkdir()
  (tmp_path / "link").symlink_to(tmp_path / "set")
  monkeypatch.chdir(tmp_path)
  return tmp_path


@pytest.mark.parametrize("written", ["set", "set/", "./set/../set", "link", "{home}/set"])
def test_one_folder_is_known_however_it_is_written(home, written):
  main = feed(home / "set", train=("a",), validation=("b", "c"))
  other = feed(written.format(home=home), train=("c",), labelled=False)
  (sentence,) = trained_on({MAIN: main, "rest": other}, ())
  assert sentence.startswith("config.streams.rest.source: lies where the main stream's does, and 1")
  assert "(as 'c'): the scores are of images that were trained on;" in sentence


def test_another_folder_of_that_name_is_another_set(home):
  os.makedirs(home / "copies" / "set")
  main = feed(home / "set", train=("a",), validation=("b",))
  other = feed(home / "copies" / "set", train=("b",))
  assert not list(trained_on({MAIN: main, "rest": other}, ()))


def test_the_images_that_were_translated_are_of_the_same_cases(home):
  main = feed(home / "set", train=("a",), validation=("b",))
  inner = main.config["data"]["source"]
  other = feed(home / "set", train=("b",))
  other.config["data"]["source"] = {"name": "translated", "source": dict(inner), "run": "runs/a"}
  assert len(list(trained_on({MAIN: main, "rest": other}, ()))) == 1


def test_what_another_stream_is_scored_on_is_looked_for_in_all(home):
  main = feed(home / "set", train=("a", "b"), validation=("c",))
  scored = feed(home / "link", validation=("b_1",), group=r"^(.)")
  rest = feed(home / "other", train=("b_1",))
  every = {MAIN: main, "scored": scored, "rest": rest}
  assert not list(trained_on(every, ()))
  (sentence,) = trained_on(every, ("main", "scored"))
  assert sentence.startswith("config.data.source: lies where that of the stream 'scored' does")
  assert "(as 'b'): the scores are of images that were trained on, with their labels;" in sentence
