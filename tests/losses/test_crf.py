"""The CRF's energy, against every pair of voxels one by one."""

import functools
import itertools

import jax
import numpy as np
import pytest
from closeness import assert_close
from scipy.special import expit, softmax

from jaxseg.batch import Target
from jaxseg.losses import gated_crf

RANDOM = np.random.default_rng(0)
KERNELS = ({"weight": 0.7, "position": 1.5, "intensity": 0.4}, {"weight": 0.2, "position": 3.0})


def energy(logits, image, weight, *, radius, kernels, sizes, send, receive, sigmoid):
  """Pair by pair, in float64."""
  scores = expit(logits) if sigmoid else softmax(logits, -1)
  gates = {"all": np.ones_like, "labelled": lambda w: w > 0, "unlabelled": lambda w: w == 0}
  sends, receives = (gates[gate](weight).astype(float) for gate in (send, receive))
  total = 0.0
  for b in range(len(logits)):
    for i in np.ndindex(logits.shape[1:-1]):
      for j in np.ndindex(logits.shape[1:-1]):
        offset = np.subtract(j, i)
        if i == j or (np.abs(offset) > radius).any():
          continue
        far = ((offset * sizes[b]) ** 2).sum()
        unlike = ((image[b][i].astype(float) - image[b][j]) ** 2).sum()
        affinity = 0.0
        for kernel in kernels:
          exponent = far / (2 * kernel["position"] ** 2)
          if "intensity" in kernel:
            exponent += unlike / (2 * kernel["intensity"] ** 2)
          affinity += kernel["weight"] * np.exp(-exponent)
        p, q = scores[b][i], scores[b][j]
        differ = (p * (1 - q) + (1 - p) * q).mean() if sigmoid else (p * (1 - q)).sum()
        total += receives[b][i] * sends[b][j] * affinity * differ
  return total / max(receives.sum(), 1)


@pytest.mark.parametrize(
  ("space", "radius", "options"),
  [
    ((5, 6), 2, {}),
    ((5, 6), (1, 3), {"sigmoid": True}),
    ((5, 6), 2, {"send": "labelled", "receive": "unlabelled"}),
    ((5, 6), 7, {"receive": "labelled", "unit": "mm"}),
    ((3, 4, 5), (0, 1, 2), {"unit": "mm"}),
    ((3, 4, 5), 1, {"send": "unlabelled"}),
  ],
)
def test_the_energy_is_that_of_every_pair(space, radius, options):
  rank, random = len(space), np.random.default_rng(1)
  logits = random.normal(size=(2, *space, 3)).astype(np.float32)
  image = random.random((2, *space, 2)).astype(np.float32)
  weight = random.integers(0, 2, (2, *space)).astype(np.float32)
  spacing = np.array([[3.0, 1.0, 0.5][-rank:], [1.0, 2.0, 1.0][-rank:]], np.float32)
  target = Target(np.zeros((2, *space), int), weight, spacing=spacing, image=image)
  value = jax.jit(functools.partial(gated_crf, radius=radius, kernels=KERNELS, **options))(
    logits, target
  )
  known = {"send": "all", "receive": "all", "sigmoid": False, "unit": "voxels"} | options
  sizes = spacing if known.pop("unit") == "mm" else np.ones((2, rank))
  expected = energy(logits, image, weight, radius=radius, kernels=KERNELS, sizes=sizes, **known)
  assert_close(value, expected)


def test_the_gradient_is_that_of_the_energy():
  logits = RANDOM.normal(size=(1, 4, 4, 2)).astype(np.float32)
  image = RANDOM.random((1, 4, 4, 1)).astype(np.float32)
  target = Target(np.zeros((1, 4, 4), int), image=image)
  options = {"radius": 1, "kernels": KERNELS}
  gradient = jax.grad(functools.partial(gated_crf, **options))(logits, target)
  known = dict(sizes=np.ones((1, 2)), send="all", receive="all", sigmoid=False, **options)
  for place in [(0, 0, 0, 0), (0, 2, 1, 1)]:
    step = np.zeros(logits.shape)
    step[place] = 1e-4
    ends = [energy(logits + s * step, image, np.ones((1, 4, 4)), **known) for s in (1, -1)]
    assert_close(gradient[place], (ends[0] - ends[1]) / 2e-4, atol=1e-5)


def test_one_label_everywhere_has_no_energy():
  logits = np.zeros((1, 5, 5, 2), np.float32) + np.array([30.0, -30.0], np.float32)
  target = Target(np.zeros((1, 5, 5), int), image=RANDOM.random((1, 5, 5, 1)))
  assert_close(gated_crf(logits, target), 0.0, atol=1e-6)


def test_memory_does_not_grow_with_the_window():
  logits = jax.ShapeDtypeStruct((1, 64, 64, 4), np.float32)
  image = jax.ShapeDtypeStruct((1, 64, 64, 1), np.float32)

  def held(radius):
    def value(logits, image):
      target = Target(np.zeros((1, 64, 64), int), image=image)
      return gated_crf(logits, target, radius=radius)

    program = jax.jit(jax.value_and_grad(value)).lower(logits, image).compile()
    return program.memory_analysis().temp_size_in_bytes

  assert held(5) < 1.5 * held(1)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"radius": 0}, "radius is 0; expected a number of voxels from 1"),
    ({"radius": (1, 1, 1)}, r"radius is \(1, 1, 1\); .* one for each of the 2 axes"),
    ({"send": "drawn"}, "send is 'drawn'; choices: all, labelled, unlabelled"),
    ({"unit": "mm"}, "unit='mm' needs the spacing"),
    ({"unit": "cm"}, "unit is 'cm'"),
    ({"kernels": ({"weight": 1.0},)}, "the kernel .* is none; expected weight"),
    ({"kernels": ({"position": 0.0},)}, "the kernel .* is none; expected weight"),
    ({"kernels": ()}, "expected one or more"),
  ],
)
def test_what_is_no_crf_is_told(options, words):
  target = Target(np.zeros((1, 4, 4), int), image=np.zeros((1, 4, 4, 1)))
  with pytest.raises(ValueError, match=words):
    gated_crf(np.zeros((1, 4, 4, 2), np.float32), target, **options)


def test_an_image_that_is_not_there_or_does_not_fit_is_told():
  logits, labels = np.zeros((1, 4, 4, 2), np.float32), np.zeros((1, 4, 4), int)
  with pytest.raises(ValueError, match="needs the image"):
    gated_crf(logits, Target(labels))
  with pytest.raises(ValueError, match=r"image has shape \(1, 3, 4, 1\); expected \(1, 4, 4\)"):
    gated_crf(logits, Target(labels, image=np.zeros((1, 3, 4, 1))))


def test_half_of_the_offsets_stand_for_all():
  from jaxseg.losses.crf import _half

  for reach in ((2, 3), (0, 1, 2)):
    half = _half(reach)
    both = {*half, *(tuple(-n for n in offset) for offset in half)}
    every = set(itertools.product(*(range(-r, r + 1) for r in reach))) - {(0,) * len(reach)}
    assert both == every
    assert len(half) * 2 == len(every)
