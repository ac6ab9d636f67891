"""The tables of functions through one battery: compiled or not, once, of the promised shapes."""

import functools
import inspect
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from variant_rows import (
  AUGMENT_OPTIONS,
  LOSS_OPTIONS,
  MIXTURE_OPTIONS,
  SPACE,
  random_batch,
  random_label,
)

from jaxseg.augment import AUGMENTATIONS, MIXTURES
from jaxseg.batch import Target
from jaxseg.losses import LOSSES
from jaxseg.metrics import METRICS

KEY = jax.random.key(3)
NUMBERS = itertools.count()
COUNTED = [
  name
  for name, metric in METRICS.items()
  if next(iter(inspect.signature(metric).parameters)) == "counts"
]


def once(function):
  """The function compiled; a second trace, which is a second compilation, fails."""

  def call(*arguments):
    return function(*arguments)

  # chex counts by name and place of definition, which all calls of this function share
  call.__name__ = f"call{next(NUMBERS)}"
  return jax.jit(chex.assert_max_traces(call, n=1))


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_same_compiled_or_not_and_compiled_once(name):
  loss = functools.partial(LOSSES[name], **LOSS_OPTIONS.get(name, {}))
  compiled = once(jax.value_and_grad(loss))
  for seed in (0, 1):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(2, *SPACE, 3)).astype(np.float32)
    weight = random.integers(0, 2, (2, *SPACE)).astype(np.float32)
    maps = {"distance": random.normal(size=logits.shape).astype(np.float32)}
    maps["box"] = random.integers(0, 2, logits.shape).astype(np.float32)
    image = random.random((2, *SPACE, 1)).astype(np.float32)
    target = Target(random_label((2, *SPACE), seed), weight, maps, image=image)
    value, gradient = compiled(logits, target)
    chex.assert_shape(value, ())
    chex.assert_type([value, gradient], jnp.float32)
    chex.assert_equal_shape([gradient, logits])
    chex.assert_tree_all_finite((value, gradient))
  assert_close(value, loss(logits, target))


@pytest.mark.parametrize("name", COUNTED)
def test_a_metric_of_counts_is_the_same_compiled_or_not(name):
  counts = np.random.default_rng(0).integers(0, 50, (2, 3, 4)).astype(np.float32)
  compiled = once(METRICS[name])
  for table in (counts, counts + 1):
    values = compiled(jnp.asarray(table))
    chex.assert_shape(values, (2, 3))
    chex.assert_type(values, jnp.float32)
  assert_close(values, METRICS[name](table))
  assert_close(values, METRICS[name](jnp.asarray(table)))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_is_the_same_compiled_or_not_and_keeps_shapes_and_types(name):
  options = {"p": 1.0} if "p" in inspect.signature(AUGMENTATIONS[name]).parameters else {}
  options |= AUGMENT_OPTIONS.get(name, {})
  transform = functools.partial(AUGMENTATIONS[name], **options)
  compiled = once(transform)
  for seed in (0, 1):
    sample = jax.tree.map(lambda x: jnp.asarray(x[0]), random_batch(1, seed))
    out = compiled(jax.random.fold_in(KEY, seed), sample)
    kept = {field: sample[field] for field in sample if field in out}
    assert sample.keys() - kept.keys() <= {"body"}  # what is found on the way and used up
    chex.assert_trees_all_equal_shapes_and_dtypes({field: out[field] for field in kept}, kept)
    chex.assert_tree_all_finite(out)
  eager = transform(jax.random.fold_in(KEY, seed), sample)
  assert eager.keys() == out.keys()
  for field in out:
    assert_close(out[field], eager[field], rtol=1e-4, err_msg=field)


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_is_the_same_compiled_or_not(name):
  transform = functools.partial(MIXTURES[name], p=1.0, **MIXTURE_OPTIONS.get(name, {}))
  compiled = once(transform)
  for seed in (0, 1):
    batch = jax.tree.map(jnp.asarray, random_batch(3, seed))
    batch.pop("body", None)  # samples' own transforms use it up
    out = compiled(jax.random.fold_in(KEY, seed), batch)
    chex.assert_equal_shape([out["image"], batch["image"]])
    chex.assert_tree_all_finite(out)
  eager = transform(jax.random.fold_in(KEY, seed), batch)
  assert eager.keys() == out.keys()
  for field in out:
    assert_close(out[field], eager[field], rtol=1e-4, err_msg=field)
