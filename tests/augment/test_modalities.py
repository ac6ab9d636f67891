"""Modality dropout: how often each channel stays, what counts as gone, that noise stays out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.augment import chain, channel_dropout, cutmix, mixup, modality_dropout, noise, view
from jaxseg.augment.modalities import without_missing

KEY = jax.random.key(3)
DRAWS = 6000


def masks(image, *, modalities=None, draws=DRAWS, **options):
  """(draws, channels): the modalities of so many samples, their images being checked against."""

  def one(key):
    sample = {"image": image} | ({} if modalities is None else {"modalities": modalities})
    out = modality_dropout(key, sample, **options)
    return out["modalities"], out["image"]

  kept, images = jax.jit(jax.vmap(one))(jax.random.split(KEY, draws))
  np.testing.assert_array_equal(images, image * np.asarray(kept)[:, None, None])
  return np.asarray(kept)


def full(channels, size=(3, 2)):
  return np.random.default_rng(0).uniform(1, 2, (*size, channels)).astype(np.float32)


def tolerance(p):
  return 4.5 * np.sqrt(p * (1 - p) / DRAWS)


def test_each_of_four_stays_with_8_of_15_and_every_subset_is_as_likely():
  kept = masks(full(4))
  assert kept.sum(1).min() == 1
  np.testing.assert_allclose(kept.mean(0), 8 / 15, atol=tolerance(8 / 15))
  assert round(8 / 15, 6) == 0.533333
  subsets = np.bincount((kept @ (1, 2, 4, 8)).astype(int), minlength=16)
  assert subsets[0] == 0
  np.testing.assert_allclose(subsets[1:] / DRAWS, 1 / 15, atol=tolerance(1 / 15))


def test_another_probability_is_that_of_independent_draws_without_the_empty_one():
  p = 0.8
  kept = masks(full(3), p_channel=p)
  expected = np.zeros(8)
  for subset in range(1, 8):
    stays = subset.bit_count()
    expected[subset] = (1 - p) ** stays * p ** (3 - stays) / (1 - p**3)
  found = np.bincount((kept @ (1, 2, 4)).astype(int), minlength=8) / DRAWS
  np.testing.assert_allclose(found, expected, atol=tolerance(0.3))
  assert (masks(full(3), p_channel=1.0).sum(1) == 1).all()
  assert (masks(full(3), p_channel=0.0, draws=50) == 1).all()


def test_by_number_0_to_all_but_one_go_equally_often():
  kept = masks(full(4), rule="count")
  counts = np.bincount((4 - kept.sum(1)).astype(int), minlength=5) / DRAWS
  np.testing.assert_allclose(counts, [0.25, 0.25, 0.25, 0.25, 0], atol=tolerance(0.25))
  np.testing.assert_allclose(kept.mean(0), 0.625, atol=tolerance(0.625))


@pytest.mark.parametrize("told", [True, False])
def test_what_a_sample_lacks_counts_among_those_that_go(told):
  image, lacks = full(4), np.array([1, 0, 1, 1], np.float32)
  image[..., 1] = 0
  modalities = lacks if told else None
  kept = masks(image, modalities=modalities, rule="count")
  assert (kept[:, 1] == 0).all()
  gone = np.bincount((4 - kept.sum(1)).astype(int), minlength=4) / DRAWS
  # none or one to go: the one that lacks
  np.testing.assert_allclose(gone, [0, 0.5, 0.25, 0.25], atol=tolerance(0.5))
  kept = masks(image, modalities=modalities)
  assert (kept[:, 1] == 0).all()
  assert kept.sum(1).min() == 1
  np.testing.assert_allclose(kept.mean(0)[[0, 2, 3]], 4 / 7, atol=tolerance(4 / 7))


def test_what_the_set_says_is_missing_is_emptied_and_a_sample_of_nothing_keeps_all():
  lacks = np.array([1, 0], np.float32)
  kept = masks(full(2), modalities=lacks, draws=40)
  np.testing.assert_array_equal(kept, np.tile(lacks, (40, 1)))
  blank = np.zeros((3, 2, 3), np.float32)
  assert (masks(blank, draws=40) == 1).all()


def test_a_share_of_the_samples_is_drawn():
  kept = masks(full(2), p=0.3)
  np.testing.assert_allclose((kept.sum(1) == 1).mean(), 0.3 * 2 / 3, atol=tolerance(0.2))


def test_one_channel_stays_in_volumes_too():
  out = modality_dropout(KEY, {"image": full(1, (2, 3, 4))})
  np.testing.assert_array_equal(out["modalities"], [1])


def test_noise_after_it_is_taken_away_again_by_the_field():
  act = chain({"noise": functools.partial(noise, p=1.0), "modality_dropout": modality_dropout})
  for seed in range(8):
    out = jax.jit(act)(jax.random.key(seed), {"image": full(3)})
    assert (np.asarray(out["image"]) != 0).all()
    gone = np.asarray(out["modalities"]) == 0
    image = np.asarray(without_missing(out)["image"])
    assert (image[..., gone] == 0).all()
    np.testing.assert_array_equal(image[..., ~gone], np.asarray(out["image"])[..., ~gone])


def test_batches_in_batches_are_masked_each_by_its_own():
  images = np.ones((2, 2, 3, 2), np.float32)
  batch = {
    "image": images,
    "modalities": np.array([[1, 0], [1, 1]], np.float32),
    "unlabelled": {"image": images, "modalities": np.array([[0, 1], [1, 1]], np.float32)},
    "target": {"image": images},
  }
  out = without_missing(batch)
  np.testing.assert_array_equal(out["image"][:, 0, 0], [[1, 0], [1, 1]])
  np.testing.assert_array_equal(out["unlabelled"]["image"][:, 1, 2], [[0, 1], [1, 1]])
  np.testing.assert_array_equal(out["target"]["image"], 1)


def test_a_view_leaves_missing_channels_empty():
  strong = view({"noise": functools.partial(noise, p=1.0, sigma=(1.0, 1.0))})
  batch = {"image": jnp.zeros((2, 4, 4, 2)), "modalities": jnp.array([[1.0, 0.0], [0.0, 1.0]])}
  image = np.asarray(strong(KEY, batch)["image"])
  np.testing.assert_array_equal((image != 0).all((1, 2)), [[True, False], [False, True]])
  np.testing.assert_array_equal((image == 0).all((1, 2)), [[False, True], [True, False]])


@pytest.mark.parametrize("act", [cutmix, functools.partial(mixup, classes=2)])
def test_samples_with_other_channels_cannot_be_mixed(act):
  batch = {"image": jnp.ones((2, 4, 4, 2)), "modalities": jnp.ones((2, 2))}
  with pytest.raises(ValueError, match="field 'modalities' cannot be mixed"):
    act(KEY, batch)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(rule="random"), "'random' is unknown; choices: independent, count"),
    (dict(rule="count", p_channel=0.5), "p_channel: 0.5 has no effect with rule='count'"),
    (dict(p=1.5), r"modality_dropout.p: probability 1.5 must"),
    (dict(p_channel=-1.0), r"modality_dropout.p_channel: probability -1.0 must"),
  ],
)
def test_bad_options_are_told(options, message):
  with pytest.raises(ValueError, match=message):
    modality_dropout(KEY, {"image": full(2)}, **options)


def test_it_differs_from_channel_dropout_in_what_it_tells():
  assert set(channel_dropout(KEY, {"image": full(2)})) == {"image"}
  assert set(modality_dropout(KEY, {"image": full(2)})) == {"image", "modalities"}
