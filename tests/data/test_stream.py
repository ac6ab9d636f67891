"""Streams: what each is fed is its own affair and alike from every cache; labels stay out."""

import jax
import numpy as np
import pytest
import tiny

from jaxseg import augment, sharding
from jaxseg.data import sampling
from jaxseg.data.prepared.fields import without_labels
from jaxseg.data.sampling import sampling as make
from jaxseg.data.stream import MAIN, Feeder, Stream, nested, number, sample
from jaxseg.step import compile_step


def stream(name, *, cases=(0, 1, 2, 3), batch=2, seed=0, labelled=True, patch=(8, 8)):
  dataset = tiny.dataset() if labelled else without_labels(tiny.dataset())
  how = make(2, patch=patch, batch=batch, seed=seed, stream=number(name) if name else 0)
  return Stream(dataset, cases, how, augment.chain({"noise": augment.noise}, patch))


def streams(*names):
  """The main stream and some of two further ones, of other sizes."""
  further = {
    "rest": lambda: stream("rest", cases=(4, 5), batch=4, labelled=False),
    "target": lambda: stream("target", cases=(1, 2, 5), batch=3),
  }
  return {MAIN: stream(MAIN)} | {name: further[name]() for name in names}


def same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_main_stream_draws_as_it_did_before_there_were_others():
  # the draw of a run without streams, from its rule: Philox seeded by (seed, 0, epoch)
  how = make(2, patch=(8, 8), batch=2, seed=7)
  expected = []
  for epoch in range(2):
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence((7, 0, epoch))))
    expected += random.permutation(6).tolist()
  drawn = [
    sampling.choose(tiny.dataset(), range(6), how, s, i).case for s in range(6) for i in (0, 1)
  ]
  assert drawn == expected


@pytest.mark.parametrize("cache", sampling.CACHES)
def test_further_streams_change_no_draw_of_another(cache):
  alone = Feeder(streams("rest"), cache=cache)
  both = Feeder(streams("target", "rest"), cache=cache)
  main = Feeder(streams(), cache=cache)
  for step in range(5):
    element = both.element(step)
    same(main.element(step)[MAIN], element[MAIN])
    same(alone.element(step)["rest"], element["rest"])


def test_streams_of_one_set_are_drawn_apart():
  pair = {MAIN: stream(MAIN), "twin": stream("twin")}
  feeder = Feeder(pair, cache="device")
  drawn = [feeder.element(step) for step in range(8)]
  assert any((of[MAIN]["start"] != of["twin"]["start"]).any() for of in drawn)


def test_all_caches_feed_two_streams_the_same_bits():
  of = streams("rest", "target")
  feeders = {cache: Feeder(of, cache=cache) for cache in sampling.CACHES}
  store = jax.device_put(feeders["device"].store())
  assert not feeders["host"].store()
  assert not feeders["disk"].store()
  for step in range(3):
    host = feeders["host"].element(step)
    same(feeders["disk"].element(step), host)
    device = sample(of, store, feeders["device"].element(step))
    same({name: dict(part) for name, part in device.items()}, host)
  assert host["rest"]["image"].shape == (4, 8, 8, 1)
  assert host["target"]["label"].shape == (3, 8, 8)


def test_elements_made_ahead_are_those_of_all_streams():
  feeder = Feeder(streams("rest"), cache="host")
  for step, element in enumerate(feeder.elements(3, 6), 3):
    same(element, feeder.element(step))


def test_a_process_makes_its_own_slots_of_every_stream():
  feeder = Feeder(streams("rest"), cache="host")
  whole = feeder.element(2)
  second = feeder.element(2, lambda batch: range(batch // 2, batch))
  for name, batch in ((MAIN, 2), ("rest", 4)):
    same(second[name], {field: values[batch // 2 :] for field, values in whole[name].items()})


def test_the_main_stream_is_flat_and_others_are_nested():
  assert nested({"b": {"image": 2}, MAIN: {"image": 1}}) == {"image": 1, "b": {"image": 2}}


def test_without_labels_nothing_of_them_is_left():
  sample = {
    **tiny.dataset().load(0),
    "weight": np.ones((3, 3)),
    "distance": np.ones((3, 3, 2)),
    "body": np.ones((3, 3)),
  }
  dataset = tiny.dataset()._replace(load=lambda i: sample, crop=lambda i, a, n: sample)
  bare = without_labels(dataset)
  assert set(bare.load(0)) == set(bare.crop(0, (0, 0), (3, 3))) == {"image", "spacing", "body"}
  assert dataset.locations(0)
  assert bare.locations(0) == {}


def test_patches_of_cases_without_labels_lie_anywhere():
  how = make(2, patch=(3, 3), batch=1, foreground=1.0)
  bare = without_labels(tiny.dataset(cases=1))
  starts = {sampling.choose(bare, (0,), how, step, 0).start for step in range(400)}
  rows, columns = bare.shape(0)
  assert len({a for a, _ in starts}) == rows - 2
  assert len({b for _, b in starts}) == columns - 2


def fed(names):
  """The batches that the method is fed in two steps, as its metrics."""
  run = tiny.experiment()
  seen = []

  def train_step(state, batch, key):
    return state.replace(step=state.step + 1), {"batch": batch, "key": jax.random.key_data(key)}

  of, method = streams(*names), run.method._replace(train_step=train_step)
  layout = sharding.layout(batches={name: part.sampling.batch for name, part in of.items()})
  run = run._replace(streams=of, method=method, layout=layout)
  feeder = Feeder(run.streams, cache="device")
  store = feeder.store()
  step = compile_step(run, feeder.element(0), store)
  state = step.init(np.uint32(0))
  for i in range(2):
    state, metrics = step.train(state, store, feeder.element(i), np.uint32(0))
    seen.append(jax.device_get(metrics))
  return seen


def test_further_streams_change_no_augmentation_of_another():
  main, one, two = fed(()), fed(("rest",)), fed(("target", "rest"))
  for a, b, c in zip(main, one, two, strict=True):
    assert set(c["batch"]) - set(a["batch"]) == {"target", "rest"}
    for field in a["batch"]:
      same(a["batch"][field], b["batch"][field])
      same(a["batch"][field], c["batch"][field])
    same(b["batch"]["rest"], c["batch"]["rest"])
    same(a["key"], c["key"])
    assert "label" not in c["batch"]["rest"]
  # a stream's noise is another one in each step
  assert (main[0]["batch"]["image"] != main[1]["batch"]["image"]).any()


def test_names_have_numbers_of_their_own_above_0():
  assert len({number(name) for name in ("a", "b", "target", "rest")}) == 4
  assert min(number(name) for name in ("a", "b")) > 0
