"""What a network is sure of in a weak view it must say of a strong view too."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.augment.views import View
from jaxseg.losses import Loss, cross_entropy
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods.labelled import UNLABELLED, images, parts, supervision, value
from jaxseg.methods.opinions import agreement, opinion
from jaxseg.schedules import Schedule


def fixmatch(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  strong: View,
  pseudo_loss: Loss | None = None,
  *,
  threshold: float | Schedule = 0.95,
  consistency: float | Schedule = 1.0,
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  sigmoid: bool = False,
) -> Method:
  """FixMatch for segmentation: pseudo-labels of the weak view, where sure, teach the strong one.

      L = L_s(f(x), y) + c r L_u(f(strong(u)), argmax f(u); where max softmax f(u) >= threshold)

  The stream's own augmentation is the weak view. L_u is a mean over the voxels that are kept and r
  their share, so that r L_u of cross entropy is the paper's mean over all: few sure voxels teach
  little.

  Args:
    network: one that gives logits.
    loss: L_s, with deep supervision if there are heads.
    optimiser: an Optax transformation.
    strong: what changes the images of the weak view, and moves nothing.
    pseudo_loss: L_u, cross entropy if None.
    threshold: of the probability of the label.
    consistency: c.
    head_decay, drop_last_head: see `supervised`.
    sigmoid: k channels of their own (regions).

  Metrics: supervised_loss, consistency (r L_u), kept (r).
  Source: Sohn et al. 2020, 2001.07685.
  """
  supervised = supervision(loss, decay=head_decay, drop_last=drop_last_head)
  pseudo_loss = pseudo_loss or functools.partial(cross_entropy, sigmoid=sigmoid)

  def init(key, batch):
    own = learner(network, optimiser, key, batch["image"])
    return State(jnp.zeros((), jnp.int32), {"network": own})

  def train_step(state, batch, key):
    current, weak = state.learners["network"], batch[UNLABELLED]
    target, scale = batch_module.target(batch, state.step), value(consistency, state.step)
    viewing, noise = jax.random.split(key)
    view = strong(viewing, weak)
    seen = images(batch, view)
    said = opinion(network, current, weak["image"])

    def objective(params):
      outputs, stats = forward(network, params, current.stats, seen, key=noise, update_stats=True)
      known, unknown = parts(outputs, batch)
      own = supervised(known, target)
      limit = value(threshold, state.step)
      pair = (unknown["logits"], said, view["image"])
      options = {"threshold": limit, "sigmoid": sigmoid}
      mean, kept = agreement(pseudo_loss, *pair, state.step, **options)
      total = own + scale * kept * mean
      return total, (stats, {"supervised_loss": own, "consistency": kept * mean, "kept": kept})

    updated, metrics = descend(optimiser, current, objective)
    return state.replace(step=state.step + 1, learners={"network": updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)
