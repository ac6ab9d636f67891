"""FixMatch with two strong views of the images and one of the features."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg import samples
from jaxseg.augment.views import View
from jaxseg.losses import Loss, dice
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods.feature_perturbation import drop_channels, encode
from jaxseg.methods.labelled import UNLABELLED, images, parts, supervision, value
from jaxseg.methods.mixtures import checked_area, mixtures
from jaxseg.methods.opinions import agreement
from jaxseg.schedules import Schedule


def unimatch(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  strong: View,
  pseudo_loss: Loss | None = None,
  *,
  threshold: float | Schedule = 0.95,
  consistency: float | Schedule = 1.0,
  image_weight: float = 0.5,
  feature_weight: float = 0.5,
  channel_rate: float = 0.5,
  cutmix: float = 0.5,
  area: tuple[float, float] = (0.02, 0.4),
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  sigmoid: bool = False,
) -> Method:
  """UniMatch: what is sure of a weak view teaches two strong views, and a decoder fed with less.

      L = (L_s(f(x), y) + c (a/2 (L_1 + L_2) + b L_f)) / (1 + a + b)

  L_1 and L_2 are of two strong views, each with boxes of the next image's pasted in (the labels
  likewise); L_f is of the weak view with channels of the encoder's features set to 0. With a = b =
  1/2 these are the weights of the release for ACDC, (L_s + L_1/4 + L_2/4 + L_f/2) / 2.

  Here the release differs: it takes CutMix's partners from another batch, and labels them with the
  running statistics of batch norm.

  Args:
    network: one that gives logits; its encoder is what "bottleneck" among its outputs is computed
      from. One without is refused, unless feature_weight is 0.
    loss: L_s; the release's is half cross entropy, half Dice.
    optimiser: an Optax transformation.
    strong: what changes the images of the weak view, and moves nothing; drawn twice.
    pseudo_loss: of the others, over the voxels that are sure; the release's squared Dice of the
      batch if None.
    threshold: of the probability of the label.
    consistency: c.
    image_weight, feature_weight: a, b.
    channel_rate: probability of a channel to be dropped.
    cutmix: probability of each image of a strong view to be mixed.
    area: the share of the image that comes from the other one.
    head_decay, drop_last_head: see `supervised`.
    sigmoid: k channels of their own (regions).

  Metrics: supervised_loss, image_consistency ((L_1 + L_2) / 2), feature_consistency (L_f), kept
  (the share of voxels that are sure, of the strong views).
  Source: Yang et al. 2022, 2208.09910.
  """
  supervised = supervision(loss, decay=head_decay, drop_last=drop_last_head)
  area = checked_area("unimatch", area)
  pseudo_loss = pseudo_loss or functools.partial(dice, batch=True, squared=True, sigmoid=sigmoid)

  def init(key, batch):
    own = learner(network, optimiser, key, batch["image"])
    return State(jnp.zeros((), jnp.int32), {"network": own})

  def weakly(params, seen, stats, key):
    return forward(network, params, stats, seen, key=key, update_stats=True)

  def agree(logits, said, view, step):
    limit = value(threshold, step)
    return agreement(pseudo_loss, logits, said, view, step, threshold=limit, sigmoid=sigmoid)

  def total(metrics, scale):
    others = image_weight * metrics["image_consistency"]
    others += feature_weight * metrics.get("feature_consistency", 0.0)
    return (metrics["supervised_loss"] + scale * others) / (1 + image_weight + feature_weight)

  def train_step(state, batch, key):
    current, weak, step = state.learners["network"], batch[UNLABELLED], state.step
    target, scale = batch_module.target(batch, step), value(consistency, step)
    count, space = len(weak["image"]), weak["image"].shape[1:-1]
    first, second, mixing, dropping, *noise = jax.random.split(key, 6)
    mixed = mixtures("unimatch", mixing, count, space, p=cutmix, area=area, ratio=1 / 0.3, views=2)
    each = [mix(strong(k, weak)["image"]) for mix, k in zip(mixed, (first, second), strict=True)]
    views = samples.joined(*each)

    def objective(params):
      arguments, of_features = (params, images(batch), current.stats, noise[0]), {}
      if feature_weight:
        features, decode = encode(weakly, *arguments)
        outputs, stats = decode(features)
        fed = parts(decode(drop_channels(dropping, features, channel_rate))[0], batch)[1]
      else:
        outputs, stats = weakly(*arguments)
      known, unknown = parts(outputs, batch)
      said = jax.lax.stop_gradient(unknown["logits"])
      if feature_weight:
        perturbed = agree(fed["logits"], said, weak["image"], step)[0]
        of_features = {"feature_consistency": perturbed}
      strongly, stats = forward(network, params, stats, views, key=noise[1], update_stats=True)
      logits = samples.apart(strongly["logits"], (count, count))
      pairs = [agree(logits[i], mixed[i](said), each[i], step) for i in (0, 1)]
      of_images, kept = zip(*pairs, strict=True)
      metrics = {
        "supervised_loss": supervised(known, target),
        "image_consistency": sum(of_images) / 2,
        "kept": sum(kept) / 2,
        **of_features,
      }
      return total(metrics, scale), (stats, metrics)

    updated, metrics = descend(optimiser, current, objective)
    return state.replace(step=step + 1, learners={"network": updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)
