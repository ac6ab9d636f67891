"""Channels that a sample lacks, around any method: in training and in prediction alike."""

from jaxseg.augment.modalities import without_missing
from jaxseg.method import Method


def masked(method: Method) -> Method:
  """Sets channels to 0 that a batch's `modalities` says are not there, in whatever it is fed.

  It comes after augmentation, which may have put noise there. A batch that doesn't tell them goes
  through as it is. Networks find them by `blocks.modalities.present`.
  """

  def init(key, batch):
    return method.init(key, without_missing(batch))

  def train_step(state, batch, key):
    return method.train_step(state, without_missing(batch), key)

  def apply(state, batch):
    return method.apply(state, without_missing(batch))

  return Method(init, train_step, apply)
