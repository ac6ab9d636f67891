"""Inputs of the functions that a config names, and the options that some of them need."""

import numpy as np

SPACE = (8, 6)
LOSS_OPTIONS = {"size_constraint": {"bounds": ((0.1, 0.5), None, (0, 0.2))}}
MIXTURE_OPTIONS = {"mixup": {"classes": 3}}
AUGMENT_OPTIONS = {"spatial": {"patch": SPACE}, "mirror": {"p": 0.5}}


def random_label(shape, seed=0):
  return np.random.default_rng(seed).integers(0, 3, shape).astype(np.int32)


def random_batch(b, seed=0, space=SPACE):
  random = np.random.default_rng(seed)
  label = random_label((b, *space), seed)
  image = label[..., None] + 0.3 * random.normal(size=(b, *space, 2))
  prior = np.eye(3)[random_label((b, *space), seed + 1)]
  return {
    "image": image.astype(np.float32),
    "label": label,
    "prior": prior.astype(np.float32),
    "body": np.ones((b, *space), np.float32),
    "spacing": np.ones((b, len(space)), np.float32),
  }
