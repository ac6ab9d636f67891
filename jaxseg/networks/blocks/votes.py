"""What several networks say of the same voxels, as one."""

import jax
import jax.numpy as jnp


def vote(members, who=None, *, sigmoid: bool = False):
  """Votes of several logits, each (b, *space, classes): the same shape, float32.

  A class scores one for each of the logits that it is highest in, plus its mean probability, which
  is less than a vote and decides ties. With `sigmoid`, of regions that overlap, each scores one for
  every logit above 0 and minus one for every other, plus twice its mean probability less 1. Votes
  have no gradient: that of the mean logits stands for it, so that a network can be trained through
  them. `who` are the members' weights, 1 of those that vote and 0 of others, each (b, 1, ..., 1);
  None is all.
  """
  counts = [1] * len(members) if who is None else who
  number = sum(counts)
  members = [p * w for p, w in zip(members, counts, strict=True)] if who is not None else members
  mean = sum(members) / number
  if sigmoid:
    ballots = [2.0 * (p > 0) - 1 for p in members]
    shares = [2 * jax.nn.sigmoid(p) - 1 for p in members]
  else:
    ballots = [jax.nn.one_hot(jnp.argmax(p, -1), p.shape[-1]) for p in members]
    shares = [jax.nn.softmax(p) for p in members]
  votes = sum(b * w for b, w in zip(ballots, counts, strict=True))
  votes += sum(s * w for s, w in zip(shares, counts, strict=True)) / number
  return mean + jax.lax.stop_gradient(votes - mean)
