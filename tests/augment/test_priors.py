import functools

import jax
import numpy as np
import pytest
from scipy import ndimage

from jaxseg.augment import prior_components, prior_morphology

RNG = np.random.default_rng(14)


def blobs(size, seed):
  random = np.random.default_rng(seed)
  return ndimage.gaussian_filter(random.normal(size=size), 1.5) > 0.05


def ball(radius, rank):
  grid = np.meshgrid(*[np.arange(-int(radius), int(radius) + 1)] * rank, indexing="ij")
  return sum(g**2 for g in grid) <= radius**2


@pytest.mark.parametrize("size", [(24, 26), (14, 15, 16)])
def test_one_class_becomes_one_of_scipys_four_operations(size):
  rank, radius = len(size), 2.0
  mask = blobs(size, 1)
  grow, shrink = (
    functools.partial(ndimage.binary_dilation, structure=ball(radius, rank)),
    functools.partial(ndimage.binary_erosion, structure=ball(radius, rank), border_value=1),
  )
  oracles = [grow(mask), shrink(mask), grow(shrink(mask)), shrink(grow(mask))]
  act = jax.jit(functools.partial(prior_morphology, p=1.0, p_label=1.0, radius=(radius, radius)))
  seen = set()
  for seed in range(16):
    out = act(jax.random.key(seed), {"prior": mask[..., None].astype(np.float32)})["prior"]
    matches = [i for i, o in enumerate(oracles) if np.array_equal(o, np.asarray(out)[..., 0] > 0)]
    assert matches
    seen |= set(matches)
  assert seen == {0, 1, 2, 3}


def test_a_gained_voxel_is_taken_from_the_other_classes():
  label = np.zeros((20, 20), int)
  label[4:10, 4:16], label[10:16, 4:16] = 1, 2
  prior = np.eye(3, dtype=np.float32)[label]
  act = functools.partial(prior_morphology, p=1.0, p_label=1.0, radius=(1.0, 4.0))
  without = jax.jit(act)
  with_background = jax.jit(functools.partial(act, background=True))
  for seed in range(8):
    out = np.asarray(without(jax.random.key(seed), {"prior": prior[..., 1:]})["prior"])
    assert out.sum(-1).max() <= 1
    assert set(np.unique(out)) <= {0.0, 1.0}
    out = np.asarray(with_background(jax.random.key(seed), {"prior": prior})["prior"])
    np.testing.assert_array_equal(out.sum(-1), 1.0)


def test_one_small_component_of_each_class_is_removed_and_large_ones_stay():
  mask = np.zeros((20, 20), np.float32)
  mask[:10] = 1.0  # half of the patch
  mask[12:14, 2:4] = mask[12:14, 8:10] = mask[17:19, 14:16] = 1.0
  act = jax.jit(functools.partial(prior_components, p=1.0))
  removed = set()
  for seed in range(24):
    out = np.asarray(act(jax.random.key(seed), {"prior": mask[..., None]})["prior"])[..., 0]
    assert out[:10].all()
    assert out.sum() == mask.sum() - 4
    removed.add(int(np.argmax(mask - out)))
  assert len(removed) == 3
  only = {"prior": np.ones((6, 6, 1), np.float32)}
  np.testing.assert_array_equal(act(jax.random.key(0), only)["prior"], only["prior"])


def test_samples_and_classes_are_drawn_with_their_probabilities():
  # two classes, far apart: each operation but closing changes a square; opening a cross
  prior = np.zeros((9, 20, 2), np.float32)
  prior[2:7, 2:7, 0] = prior[2:7, 13:18, 1] = 1
  keys = jax.random.split(jax.random.key(0), 1500)

  def share(act, **options):
    act = functools.partial(act, **options)
    changed = jax.jit(jax.vmap(lambda k: (act(k, {"prior": prior})["prior"] != prior).any((0, 1))))
    return np.asarray(changed(keys))

  removed = share(prior_components)
  np.testing.assert_allclose(removed.mean(0), 0.2, atol=4 * np.sqrt(0.16 / 1500))
  np.testing.assert_array_equal(removed[:, 0], removed[:, 1])
  changed = share(prior_morphology, radius=(1.0, 1.0))
  # dilation, erosion and (at its corners) opening by a cross change a square, closing doesn't
  expected = 0.4 * 0.5 * 3 / 4
  deviation = np.sqrt(expected * (1 - expected) / 1500)
  np.testing.assert_allclose(changed.mean(0), expected, atol=4 * deviation)


def test_a_sample_without_prior_is_left_alone():
  sample = {"image": np.ones((4, 4, 1), np.float32)}
  for act in (prior_components, prior_morphology):
    assert act(jax.random.key(0), sample, p=1.0) == sample
