"""The second stage of a cascade, around any method: what an earlier stage found is an input too."""

import jax.numpy as jnp

from jaxseg.batch import Batch
from jaxseg.method import Method


def cascaded(method: Method) -> Method:
  """Appends the batch's `prior` to the channels of its image, as nnU-Net's cascade (1809.10486).

  The prior comes after augmentation, so that intensities change in the image alone.
  """

  def joined(batch: Batch) -> Batch:
    image = batch["image"]
    prior = batch["prior"].astype(image.dtype)
    return {**batch, "image": jnp.concatenate([image, prior], -1)}

  def init(key, batch):
    return method.init(key, joined(batch))

  def train_step(state, batch, key):
    return method.train_step(state, joined(batch), key)

  def apply(state, batch):
    return method.apply(state, joined(batch))

  return Method(init, train_step, apply)
