"""Bidirectional copy-paste: boxes of labelled images in unlabelled ones, and the reverse."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg import morphology, samples
from jaxseg.augment.boxes import fixed_box, pasted
from jaxseg.batch import Array, Target
from jaxseg.losses import Loss
from jaxseg.losses.consistency import pseudo_labels
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods.labelled import UNLABELLED, supervision, value
from jaxseg.methods.opinions import opinion
from jaxseg.methods.teacher import check_options, follow, predicting, teacher_of
from jaxseg.schedules import Schedule


def copy_paste(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  unlabelled_weight: float | Schedule = 0.5,
  box: float = 2 / 3,
  largest_component: bool = True,
  decay: float = 0.99,
  predict_with: str = "student",
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  sigmoid: bool = False,
) -> Method:
  """BCP: a network learns from images that are labelled in part, and guessed by a teacher in part.

  Every other image of both streams is the ground for boxes of the other stream's:

      L = w L_s(f(1), guess of u_a, outside) + L_s(f(1), y_a, inside)    (1): x_a's box in u_a
        + L_s(f(2), y_b, outside) + w L_s(f(2), guess of u_b, inside)    (2): u_b's box in x_b

  Pre-training is where the weight w is 0: then each labelled image's partner in its pair (a, b)
  stands for the unlabelled one, with labels of its own, all terms count 1/2 (both terms of one of
  two mixtures count 1, as in the release), and the teacher is the student:
  `unlabelled_weight=dict(name="piecewise", at=(0.25,), values=(0.0, 0.5))`. The paper takes a third
  of its steps for it, and goes on from the checkpoint that was best in validation; this page from
  the last one.

  Args:
    network: one that gives logits on the image's grid.
    loss: L_s, with deep supervision if there are heads; the paper's is half cross entropy, half
      Dice.
    optimiser: an Optax transformation.
    unlabelled_weight: w.
    box: its sides, as a share of the image's; the same box for all of a batch.
    largest_component: of each class that the teacher sees, the largest component alone.
    decay: of the teacher, whose batch statistics follow too.
    predict_with: "student" or "teacher".
    head_decay, drop_last_head: see `supervised`.
    sigmoid: k channels of their own (regions).

  Metrics: supervised_loss (the two terms of labels), consistency (those of guesses, without w).
  Source: Bai et al. 2023, 2305.00673.
  """
  supervised = supervision(loss, decay=head_decay, drop_last=drop_last_head)
  check_options(decay=decay, predict_with=predict_with)

  def init(key, batch):
    if any(network.margin(batch["image"].ndim - 2)):
      raise ValueError(
        "copy_paste: the network gives less than the image's grid, so that its guesses don't cover "
        'a box; expected one without a margin (padding="same").'
      )
    student = learner(network, optimiser, key, batch["image"])
    learners = {"network": student, "teacher": teacher_of(student)}
    return State(jnp.zeros((), jnp.int32), learners)

  def train_step(state, batch, key):
    student, teacher = state.learners["network"], state.learners["teacher"]
    images, target = batch["image"], batch_module.target(batch, state.step)
    others, half = batch[UNLABELLED]["image"], len(images) // 2
    if len(images) != len(others) or len(images) % 2:
      raise ValueError(
        f"copy_paste: {len(images)} images with labels and {len(others)} without in a batch; "
        "expected as many of both, an even number (config.data.batch, "
        "config.streams.unlabelled.batch)."
      )
    if target.labels.ndim == images.ndim and not sigmoid:
      raise ValueError(
        "copy_paste: the labels are shares of classes, as mixup makes them (config.augment.mixup), "
        "and a teacher's guesses are classes; leave that augmentation out."
      )
    scale = value(unlabelled_weight, state.step)
    alone = jnp.asarray(scale == 0)
    boxing, noise = jax.random.split(key)
    weight = jnp.ones(images.shape[:-1]) if target.weight is None else target.weight

    def pair(x):
      return samples.apart(x, (half, half))

    def partners(x):
      return samples.joined(*reversed(pair(x)))

    def true():
      return partners(target.labels), partners(weight)

    def guessed():
      labels, sure = pseudo_labels(opinion(network, teacher, others), sigmoid=sigmoid)
      labels = _largest(labels, network.classes, sigmoid) if largest_component else labels
      return labels.astype(target.labels.dtype), sure.astype(weight.dtype)

    guess, guess_weight = samples.either(alone, true, guessed)
    others = jnp.where(alone, partners(images), others)
    inside = fixed_box(boxing, images.shape[1:-1], share=box)[None]
    (x_a, x_b), (u_a, u_b) = pair(images), pair(others)
    mixtures = pasted(inside, u_a, x_a), pasted(inside, x_b, u_b)

    def objective(params):
      seen = samples.joined(*mixtures)
      outputs, stats = forward(network, params, student.stats, seen, key=noise, update_stats=True)

      def term(i, labels, weight, where):
        spacing = None if target.spacing is None else pair(target.spacing)[i]
        options = {"step": state.step, "spacing": spacing, "image": mixtures[i]}
        fitted = Target(pair(labels)[i], pair(weight)[i] * where, **options)
        return supervised(jax.tree.map(lambda x: pair(x)[i], outputs), fitted)

      known = term(0, target.labels, weight, inside) + term(1, target.labels, weight, ~inside)
      rest = term(0, guess, guess_weight, ~inside) + term(1, guess, guess_weight, inside)
      total = jnp.where(alone, 0.5, 1) * known + jnp.where(alone, 0.5, scale) * rest
      return total, (stats, {"supervised_loss": known, "consistency": rest})

    updated, metrics = descend(optimiser, student, objective)
    # while it has nothing to teach, the teacher is the student
    since = jnp.where(alone, 0, state.step)
    teacher = follow(teacher, updated, since, decay=decay, statistics=True)
    learners = {"network": updated, "teacher": teacher}
    return state.replace(step=state.step + 1, learners=learners), metrics

  def apply(state, batch):
    current = predicting(state, predict_with)
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)


def _largest(labels: Array, classes: int, sigmoid: bool) -> jax.Array:
  """The labels without all but the largest component of each class, or of each region."""

  def of_regions(label):
    return jax.vmap(morphology.largest_component, -1, -1)(label > 0).astype(label.dtype)

  def of_classes(label):
    parts = (k * morphology.largest_component(label == k) for k in range(1, classes))
    return sum(parts, jnp.zeros_like(label))

  return samples.each(of_regions if sigmoid else of_classes, labels)
