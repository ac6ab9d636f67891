"""Supervised training on images in the appearance of another domain, of which no label is known."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.augment.modalities import without_missing
from jaxseg.augment.style import STYLES
from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods.labelled import UNLABELLED
from jaxseg.methods.supervised import supervised
from jaxseg.networks.blocks.options import choice


def restyled(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  style: str = "fourier",
  band: float = 0.01,
  p: float = 1.0,
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  freeze_statistics: bool = False,
) -> Method:
  """`supervised`, its images looking like those of the stream without labels, one each.

  The labels stay: only intensities change. Of the paper of "fourier" (Yang and Soatto, FDA,
  2004.05498) this is the first part; its entropy term is `entropy_minimisation`'s.

  Args:
    network, loss, optimiser, head_decay, drop_last_head, freeze_statistics: as for `supervised`.
    style: "fourier", low frequencies' amplitudes; or "histogram".
    band: of "fourier", see `augment.style.fourier`.
    p: share of the images that are changed; the others stay as they are.
  """
  choice(style, STYLES, "restyled: style")
  inner = supervised(
    network,
    loss,
    optimiser,
    head_decay=head_decay,
    drop_last_head=drop_last_head,
    freeze_statistics=freeze_statistics,
  )
  change = functools.partial(STYLES[style], **({"band": band} if style == "fourier" else {}))

  def train_step(state, batch, key):
    images, styles = batch["image"], batch[UNLABELLED]["image"]
    whether, key = jax.random.split(key)
    # the streams are drawn by chance, each slot of one may meet the same slot of the other
    styles = styles[jnp.arange(len(images)) % len(styles)]
    changed = jax.random.bernoulli(whether, p, (len(images), *(1,) * (images.ndim - 1)))
    images = jnp.where(changed, change(images, styles), images)
    # what a sample lacks has no appearance
    return inner.train_step(state, without_missing({**batch, "image": images}), key)

  return inner._replace(train_step=train_step)
