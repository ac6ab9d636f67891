"""Several runs are fed from one store: each gets what its own feeder would give it."""

import jax
import numpy as np
import pytest
import tiny

from jaxseg.data import stream
from jaxseg.data.pool import Feeders, pooled
from jaxseg.data.stream import MAIN, Feeder


def streams():
  """Three runs: two overlap in cases, one has the same as the first and another seed."""
  first, second, third = (tiny.experiment(seed=seed) for seed in (0, 0, 7))
  return [
    tiny.with_main(first, cases=(4, 0, 2)).streams,
    tiny.with_main(second, cases=(2, 5)).streams,
    tiny.with_main(third, cases=(4, 0, 2)).streams,
  ]


def patches(of, store, element):
  return jax.device_get(jax.jit(lambda *fed: stream.sample(of, *fed))(store, element))[MAIN]


@pytest.mark.parametrize("cache", ["device", "host", "disk"])
def test_each_run_is_fed_as_by_its_own_feeder(cache):
  several = streams()
  feeders = Feeders(several, cache=cache)
  store = feeders.store()
  for step in (0, 1, 5):
    for of, element in zip(several, feeders.element(step), strict=True):
      own = Feeder(of, cache=cache)
      ours, theirs = (
        patches(of, *fed) for fed in ((store, element), (own.store(), own.element(step)))
      )
      assert ours.keys() == theirs.keys()
      for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_a_case_of_several_runs_is_kept_once():
  own, count = pooled([of[MAIN] for of in streams()])
  assert count == 4
  assert [of.cases for of in own] == [(0, 1, 2), (2, 3), (0, 1, 2)]
  assert own[0].dataset.names == ("case_4", "case_0", "case_2", "case_5")
  store = Feeders(streams(), cache="device").store()[MAIN]
  assert len(store["shape"]) == 4


def test_cases_of_other_sets_are_kept_apart(tmp_path):
  """Of folds whose statistics differ: the same case is prepared otherwise in each set."""
  first, second = streams()[:2]
  other = second[MAIN].dataset
  darker = other._replace(
    folder=tmp_path, load=lambda i: {**other.load(i), "image": other.load(i)["image"] - 5}
  )
  second = {MAIN: second[MAIN]._replace(dataset=darker)}
  feeders = Feeders([first, second], cache="device")
  assert len(feeders.store()[MAIN]["shape"]) == 5
  ours = patches(second, feeders.store(), feeders.element(3)[1])
  own = Feeder(second, cache="device")
  np.testing.assert_array_equal(
    ours["image"], patches(second, own.store(), own.element(3))["image"]
  )


def test_elements_come_in_order():
  feeders = Feeders(streams(), cache="device")
  for step, elements in enumerate(feeders.elements(2, 5), start=2):
    jax.tree.map(np.testing.assert_array_equal, elements, feeders.element(step))
  assert step == 4
