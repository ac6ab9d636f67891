"""What an earlier stage of a cascade knows: its posterior probabilities."""

import jax
import jax.numpy as jnp

from jaxseg.networks.blocks.options import choice
from jaxseg.networks.blocks.resize import largest

POSTERIORS = ("softmax", "sigmoid")


def posterior(logits, kind: str = "softmax"):
  """Probabilities in float32, (b, *space, classes) -> the same shape.

  "softmax" over classes that exclude each other, the background first; "sigmoid" for each region on
  its own. Raises ValueError for the softmax over a single channel, which is constant.
  """
  choice(kind, POSTERIORS, "posterior")
  if kind == "softmax" and logits.shape[-1] == 1:
    raise ValueError(
      "posterior='softmax' over one class is constant; set posterior='sigmoid' or give the network "
      "a class for the background too."
    )
  logits = logits.astype(jnp.float32)
  return jax.nn.softmax(logits, -1) if kind == "softmax" else jax.nn.sigmoid(logits)


def foreground_maps(probabilities, kind: str = "softmax"):
  """The channels of the posterior that are not the background's."""
  return probabilities[..., 1:] if kind == "softmax" else probabilities


def foreground(probabilities, kind: str = "softmax"):
  """Probability that a voxel is anything but background, (b, *space, classes) -> (b, *space).

  For regions, which may overlap, that of the likeliest one.
  """
  maps = foreground_maps(probabilities, kind)
  return maps.sum(-1) if kind == "softmax" else largest(maps, -1)


def entropy(logits, kind: str = "softmax"):
  """Uncertainty of each voxel in [0, 1], (b, *space, classes) -> (b, *space, 1) float32.

  The posterior's entropy over that of the uniform one; for regions the mean of their binary ones.
  """
  choice(kind, POSTERIORS, "posterior")
  logits = logits.astype(jnp.float32)
  if kind == "softmax":
    logs = jax.nn.log_softmax(logits, -1)
    classes = jnp.float32(logits.shape[-1])
    return -(jnp.exp(logs) * logs).sum(-1, keepdims=True) / jnp.log(classes)
  yes, no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
  bits = -(jnp.exp(yes) * yes + jnp.exp(no) * no) / jnp.log(2.0)
  return bits.mean(-1, keepdims=True)


def background_logits(like, kind: str = "softmax", *, sureness: float = 10.0):
  """Logits of voxels that a later stage leaves out: surely background; the shape of `like`.

  The probability of anything else is exp(-`sureness`): finite, so that the loss of an object
  outside is.
  """
  channels = jnp.full((like.shape[-1],), -sureness, jnp.float32)
  if kind == "softmax":
    channels = channels.at[0].set(0.0)
  return jnp.broadcast_to(channels.reshape((1,) * (like.ndim - 1) + (-1,)), like.shape)
