"""Quarter turns against numpy's; mirroring itself is tested with the geometry."""

import functools

import jax
import numpy as np
import pytest

from jaxseg.augment import quarter_turn

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("size", [(6, 6), (3, 6, 6)])
def test_a_quarter_turn_is_numpys_of_every_field(size):
  sample = {
    "image": RNG.normal(size=(*size, 2)).astype(np.float32),
    "label": RNG.integers(0, 4, size).astype(np.int32),
    "spacing": np.arange(1, 1 + len(size), dtype=np.float32),
    "case": np.int32(7),
  }
  axes = (len(size) - 2, len(size) - 1)
  act = jax.jit(functools.partial(quarter_turn, p=1.0))
  seen = set()
  for seed in range(12):
    out = act(jax.random.key(seed), sample)
    turns = [
      n for n in range(4) if np.array_equal(out["label"], np.rot90(sample["label"], n, axes))
    ]
    assert len(turns) == 1
    seen.update(turns)
    np.testing.assert_array_equal(out["image"], np.rot90(sample["image"], turns[0], axes))
    spacing = list(sample["spacing"])
    if turns[0] % 2:
      spacing[-2:] = spacing[:-3:-1]
    np.testing.assert_array_equal(out["spacing"], spacing)
    assert out["case"] == 7
  assert seen == {1, 2, 3}


def test_three_turns_of_four_make_all_directions_equally_likely():
  sample = {"label": np.arange(4, dtype=np.int32).reshape(2, 2)}
  keys = jax.random.split(jax.random.key(0), 800)
  act = functools.partial(quarter_turn, p=0.75)
  first = jax.jit(jax.vmap(lambda key: act(key, sample)["label"][0, 0]))(keys)
  np.testing.assert_allclose(np.bincount(np.asarray(first)) / 800, 0.25, atol=0.05)


def test_what_is_not_square_is_turned_by_half():
  label = np.arange(30, dtype=np.int32).reshape(6, 5)
  for seed in range(3):
    out = quarter_turn(jax.random.key(seed), {"label": label}, p=1.0)
    np.testing.assert_array_equal(out["label"], label[::-1, ::-1])
