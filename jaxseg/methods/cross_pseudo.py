"""Two networks that teach each other: each learns from the labels that the other one gives."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg import samples
from jaxseg.losses import Loss, cross_entropy
from jaxseg.method import Method, State, forward, learner
from jaxseg.methods.jointly import descend_jointly
from jaxseg.methods.labelled import UNLABELLED, parts, supervision, value
from jaxseg.methods.mixtures import checked_area, mixtures
from jaxseg.methods.opinions import agreement, opinion
from jaxseg.networks.blocks.options import choice
from jaxseg.schedules import Schedule

NAMES = ("network", "other")


def cross_pseudo(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  pseudo_loss: Loss | None = None,
  *,
  consistency: float | Schedule = 1.5,
  cutmix: float = 0.0,
  area: tuple[float, float] = (0.25, 0.5),
  predict_with: str = "network",
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  sigmoid: bool = False,
) -> Method:
  """Cross pseudo supervision: two copies of a network that differ by their initial weights.

      L = L_s(f1(x), y) + L_s(f2(x), y) + c (L_u(f1(u), argmax f2(u)) + L_u(f2(u), argmax f1(u)))

  With CutMix the networks learn from mixtures of two images, for which each is told what the other
  said of the two (French et al., 1906.01916); here the second one is the next of the batch. The
  paper applies L_u to labelled images too; SSL4MIS and this page don't.

  Args:
    network: its learners are "network" and "other".
    loss: L_s, with deep supervision if there are heads.
    optimiser: of both.
    pseudo_loss: L_u, cross entropy if None.
    consistency: c; the paper's on VOC, SSL4MIS ramps it up to 0.1.
    cutmix: probability of each image without labels to be mixed.
    area: the share of the image that comes from the other one.
    predict_with: "network" or "other".
    head_decay, drop_last_head: see `supervised`.
    sigmoid: k channels of their own (regions).

  Metrics: supervised_loss (of both), consistency (the sum in brackets).
  Source: Chen et al. 2021, 2106.01226.
  """
  return crosswise(
    (network, network),
    loss,
    (optimiser, optimiser),
    pseudo_loss or functools.partial(cross_entropy, sigmoid=sigmoid),
    consistency=consistency,
    cutmix=cutmix,
    area=checked_area("cross_pseudo", area),
    predict_with=choice(predict_with, NAMES, "cross_pseudo: predict_with"),
    head_decay=head_decay,
    drop_last_head=drop_last_head,
    sigmoid=sigmoid,
  )


def crosswise(
  nets: tuple[nn.Module, nn.Module],
  loss: Loss,
  optimisers: tuple[optax.GradientTransformation, optax.GradientTransformation],
  pseudo_loss: Loss,
  *,
  consistency: float | Schedule,
  cutmix: float,
  area: tuple[float, float],
  predict_with: str,
  head_decay: float,
  drop_last_head: bool,
  sigmoid: bool,
) -> Method:
  """`cross_pseudo` of any two networks."""
  supervised = supervision(loss, decay=head_decay, drop_last=drop_last_head)
  by_name = dict(zip(NAMES, optimisers, strict=True))

  def init(key, batch):
    # the first one's is that of `supervised`, so that both start alike
    keys = (key, jax.random.fold_in(key, 1))
    learners = map(learner, nets, optimisers, keys, (batch["image"],) * 2)
    return State(jnp.zeros((), jnp.int32), dict(zip(NAMES, learners, strict=True)))

  def train_step(state, batch, key):
    pair = [state.learners[name] for name in NAMES]
    target, scale = batch_module.target(batch, state.step), value(consistency, state.step)
    images, space = batch[UNLABELLED]["image"], batch["image"].shape[1:-1]
    mixing, *keys = jax.random.split(key, 3)
    said = None
    if cutmix:
      (mixed,) = mixtures("cross_pseudo", mixing, len(images), space, p=cutmix, area=area)
      said = [mixed(opinion(*of, images)) for of in zip(nets, pair, strict=True)]
      images = mixed(images)
    seen = samples.joined(batch["image"], images)

    def objective(params):
      passes = [
        forward(net, p, of.stats, seen, key=k, update_stats=True)
        for net, p, of, k in zip(nets, params.values(), pair, keys, strict=True)
      ]
      known, unknown = zip(*(parts(outputs, batch) for outputs, _ in passes), strict=True)
      logits = [outputs["logits"] for outputs in unknown]
      first, second = said or jax.lax.stop_gradient(logits)
      own = sum(supervised(outputs, target) for outputs in known)
      agree = functools.partial(agreement, pseudo_loss, step=state.step, sigmoid=sigmoid)
      cross = agree(logits[0], second, images)[0] + agree(logits[1], first, images)[0]
      stats = dict(zip(NAMES, (stats for _, stats in passes), strict=True))
      return own + scale * cross, (stats, {"supervised_loss": own, "consistency": cross})

    learners, metrics = descend_jointly(by_name, dict(zip(NAMES, pair, strict=True)), objective)
    return state.replace(step=state.step + 1, learners=learners), metrics

  def apply(state, batch):
    current = state.learners[predict_with]
    net = nets[NAMES.index(predict_with)]
    return forward(net, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)
