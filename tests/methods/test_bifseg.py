"""Fine-tuning on one image: the layers that may learn, weights of marks, what is left as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from method_rows import batch_of, small_unet

from jaxseg.losses import LOSSES
from jaxseg.methods import METHODS, bifseg
from jaxseg.paths import flatten


def trained():
  scheme = METHODS["supervised"](small_unet(), LOSSES["cross_entropy"], optax.sgd(0.2))
  batch = batch_of()
  state, step = scheme.init(jax.random.key(0), batch), jax.jit(scheme.train_step)
  for seed in range(8):
    state, _ = step(state, batch, jax.random.key(seed))
  return scheme, state, {"image": batch["image"][:1]}


def tuned(scheme, state, batch, marks, **options):
  tune = jax.jit(
    lambda marks: bifseg.fine_tuned(scheme.apply, state, batch, marks, layers=("head*",), **options)
  )
  return tune(marks)


def test_the_last_layer_alone_learns_what_is_marked():
  scheme, state, batch = trained()
  said = jax.nn.softmax(scheme.apply(state, batch)["logits"][0])
  # as of another class than it says
  other = (np.asarray(said).argmax(-1) + 1) % 3
  marks = np.zeros(said.shape, bool)
  places = [(1, 1), (2, 5), (6, 3)]
  for place in places:
    marks[(*place, other[place])] = True
  after = tuned(scheme, state, batch, marks, rounds=2, steps=10)
  before, new = (flatten(of.learners["network"].params) for of in (state, after))
  moved = {path for path in before if not np.array_equal(before[path], new[path])}
  assert moved
  assert all(path.startswith("head") for path in moved)
  shares = jax.nn.softmax(scheme.apply(after, batch)["logits"][0])
  assert all(shares[(*p, other[p])] > said[(*p, other[p])] for p in places)
  heavier = tuned(scheme, state, batch, marks, rounds=2, steps=10, weight=50.0)
  more = jax.nn.softmax(scheme.apply(heavier, batch)["logits"][0])
  assert sum(more[(*p, other[p])] - shares[(*p, other[p])] for p in places) > 0


def test_without_marks_and_where_nothing_is_sure_nothing_moves():
  scheme, state, batch = trained()
  marks = np.zeros((8, 8, 3), bool)
  # every share lies between 0 and 1
  after = tuned(scheme, state, batch, marks, rounds=1, steps=3, uncertain=(0.0, 1.0))
  jax.tree.map(np.testing.assert_array_equal, after, state)


def test_labels_are_smooth_where_the_image_is_and_marks_stay():
  image = np.zeros((6, 7, 1), np.float32)
  image[:, 4:] = 10
  said = np.zeros((6, 7, 2), np.float32)
  said[..., 0] = 1.0
  said[2, 2] = 0, 0.5  # alone among voxels of the other class
  said[:, 4:] = 0, 1
  marks = np.zeros((6, 7, 2), bool)
  marks[5, 0, 1] = True
  links = bifseg._links(jnp.asarray(image), 0.5)
  labels = bifseg._smoothed(jax.nn.log_softmax(jnp.asarray(said)), marks, links, 2.0)
  expected = (image[..., 0] > 0).astype(int)
  expected[5, 0] = 1
  np.testing.assert_array_equal(labels, expected)
  plain = bifseg._smoothed(jax.nn.log_softmax(jnp.asarray(said)), marks, links, 0.0)
  assert plain[2, 2] == 1


def test_several_images_and_patterns_of_nothing_are_refused():
  scheme, state, batch = trained()
  marks = np.zeros((8, 8, 3), bool)
  two = {"image": jnp.concatenate([batch["image"]] * 2)}
  with pytest.raises(ValueError, match="2 images"):
    bifseg.fine_tuned(scheme.apply, state, two, marks, layers=("head*",))
  with pytest.raises(ValueError, match="names no parameter"):
    bifseg.fine_tuned(scheme.apply, state, batch, marks, layers=("tail*",))
