"""Distillation: a network learns from labels and from what trained networks say of the images."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.losses import Loss
from jaxseg.losses import distillation as distances
from jaxseg.method import Learner, Method, State, descend, forward, learner
from jaxseg.methods import lessons
from jaxseg.methods.labelled import supervision, value
from jaxseg.networks.blocks.options import choice
from jaxseg.networks.several import Several, one
from jaxseg.schedules import Schedule


def distillation(
  network: nn.Module,
  teacher: nn.Module | Several,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  regressor_optimiser: optax.GradientTransformation,
  *,
  supervised: float | Schedule = 1.0,
  logits: float | Schedule = 1.0,
  temperature: float = 2.0,
  places: float | Schedule = 0.0,
  places_temperature: float = 4.0,
  attention: float | Schedule = 0.0,
  features: float | Schedule = 0.0,
  between: Mapping[str, str] | Sequence[str] = (),
  teachers: str = lessons.HELD_OUT,
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  head_weights: Sequence[float] | None = None,
  auxiliary: float | Schedule = 1.0,
  freeze_statistics: bool = False,
  sigmoid: bool = False,
) -> Method:
  """Minimises supervised * loss + the weighted distances to a frozen teacher.

  The teacher sees the images that the network sees, in inference mode; patches of a stream
  "unlabelled", if there is one, teach as those with labels do. Of several teachers the mean of what
  is compared is taken (probabilities, maps of attention), whose gradient is that of the mean
  distance to each of them. A temperature, and the weights, are of 1503.02531; see
  `losses.distillation` for formulas and the other sources.

  Args:
    network: the student; it alone predicts.
    teacher: networks.teacher=dict(run=FOLDER), or dict(runs=FOLDER) of a cross-validation. It may
      be of another architecture.
    loss, optimiser: as of `supervised`.
    regressor_optimiser: of the 1x1 convolutions that compare `features`; by default the same.
    supervised: weight of `loss`.
    logits: weight of T^2 KL(teacher || student) of the softened probabilities.
    temperature: their T.
    places: weight of the channel-wise divergence, of where in a patch a class is (2011.13256).
    places_temperature: its T.
    attention: weight of the difference of `between`'s maps of attention (1612.03928).
    features: weight of that of `between`'s features (1412.6550), by a learnt linear map where
      numbers of channels differ, and for each of several teachers, whose features have nothing in
      common.
    between: names of outputs that both networks have, or student's -> teacher's.
    teachers: of several, whom a sample is taught by. "held_out": the fold that never saw its case,
      and the mean of all where no fold, or every one, held the case out; "mean": all; "drawn": one
      drawn in each step (for `features` in place of the mean, which they don't have).
    sigmoid: the labels are regions.
    head_decay, drop_last_head, head_weights, auxiliary, freeze_statistics: as of `supervised`.
  """
  choice(teachers, (lessons.HELD_OUT, lessons.MEAN, lessons.DRAWN), "distillation: teachers")
  pairs = dict(between) if isinstance(between, Mapping) else {name: name for name in between}
  weights = {"logits": logits, "places": places, "attention": attention, "features": features}
  weights = {name: of for name, of in weights.items() if callable(of) or of}
  temperatures = {"temperature": temperature, "places_temperature": places_temperature}
  lessons.check({"supervised": supervised, **weights}, pairs, **temperatures)
  number = teacher.number if isinstance(teacher, Several) else None
  lessons.check_teachers(teachers, number, features="features" in weights)
  # features of several networks have no mean
  otherwise = lessons.DRAWN if "features" in weights else lessons.MEAN
  every = lessons.comparisons(pairs, sigmoid=sigmoid, **temperatures)
  compared = {name: every[name] for name in weights}
  heads = supervision(
    loss,
    decay=head_decay,
    drop_last=drop_last_head,
    weights=head_weights,
    auxiliary=auxiliary,
  )
  nets = (network, one(teacher))

  def init(key, batch):
    image = batch["image"]
    # the network's is that of `supervised`, so that both start alike
    learners = {
      "network": learner(network, optimiser, key, image),
      "teacher": learner(teacher, None, jax.random.fold_in(key, 1), image),
    }
    if "features" in weights:
      shapes = (lessons.shapes(net, image) for net in nets)
      kernels = lessons.kernels(jax.random.fold_in(key, 2), *shapes, pairs, number=number)
      if kernels:
        learners["regressor"] = Learner(kernels, {}, regressor_optimiser.init(kernels))
    return State(jnp.zeros((), jnp.int32), learners)

  def train_step(state, batch, key):
    learners, target = state.learners, batch_module.target(batch, state.step)
    images, folds = lessons.images(batch)
    shapes = [lessons.shapes(net, images) for net in nets]
    lessons.check_pairs(pairs, *shapes)
    # valid convolutions give less than the image's grid
    space = [min(sizes) for sizes in zip(*(of["logits"].shape[1:-1] for of in shapes), strict=True)]

    def common(outputs):
      return {**outputs, "logits": distances.centred(outputs["logits"], space)}

    def describe(outputs):
      return {name: way.describe(common(outputs)) for name, way in compared.items()}

    shares = None
    if number:
      options = {"number": number, "teachers": teachers, "otherwise": otherwise}
      shares = lessons.shares(jax.random.fold_in(key, 1), folds, **options)
    taught = lessons.taught(teacher, learners["teacher"], images, shares, describe)

    def objective(params):
      outputs, stats = forward(
        network,
        params["network"],
        learners["network"].stats,
        images,
        key=key,
        update_stats=not freeze_statistics,
        train=True,
      )
      labelled = heads(lessons.labelled(outputs, batch), target)
      ours, kernels = common(outputs), lessons.of_samples(params.get("regressor", {}), shares)
      parts = {name: way.distance(ours, taught[name], kernels) for name, way in compared.items()}
      metrics = {"supervised_loss": labelled} | {f"{name}_distance": x for name, x in parts.items()}
      if "logits" in parts:
        agree = distances.agreement(ours["logits"], taught["logits"], sigmoid=sigmoid)
        metrics["agreement"] = agree
      total = value(supervised, state.step) * labelled
      total += sum(value(weights[name], state.step) * part for name, part in parts.items())
      return total, (stats, metrics)

    updated, metrics = _descend_together(
      {"network": optimiser, "regressor": regressor_optimiser}, learners, objective
    )
    return state.replace(step=state.step + 1, learners={**learners, **updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)


def _descend_together(rules, learners: Mapping[str, Learner], objective):
  """One gradient step of those of the learners that have an optimiser in `rules`, on one objective.

  It takes {name: params}; its statistics are those of "network".
  """
  own = {name: of for name, of in learners.items() if name in rules}

  def update(gradients, states, params):
    both = {k: rules[k].update(gradients[k], states[k], params[k]) for k in params}
    return tuple({k: of[i] for k, of in both.items()} for i in (0, 1))

  params = {name: of.params for name, of in own.items()}
  joint = Learner(params, {}, {name: of.opt_state for name, of in own.items()})
  joint, metrics = descend(optax.GradientTransformation(None, update), joint, objective)
  stats = {name: of.stats for name, of in own.items()} | {"network": joint.stats}
  return {k: Learner(joint.params[k], stats[k], joint.opt_state[k]) for k in own}, metrics
