"""Mean teacher: a network agrees with the running average of itself on images without labels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.augment.views import View
from jaxseg.batch import Array
from jaxseg.losses import Loss
from jaxseg.losses.consistency import squared_difference
from jaxseg.losses.voxels import probabilities
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import labelled, mixtures, teacher
from jaxseg.schedules import Schedule

# (images, key) -> the teacher's probabilities
Teach = Callable[[Array, jax.Array], Array]
# (teach, images, key, step) -> (b, *space) weight of each voxel
Certainty = Callable[[Teach, Array, jax.Array, Array], Array]


def mean_teacher(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  strong: View | None = None,
  weak: View | None = None,
  *,
  consistency: float | Schedule = 0.1,
  decay: float = 0.99,
  noise: float = 0.1,
  noise_limit: float = 0.2,
  cutmix: float = 0.0,
  area: tuple[float, float] = (0.5, 0.5),
  average_statistics: bool = False,
  predict_with: str = "student",
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  sigmoid: bool = False,
) -> Method:
  """loss + consistency * mean over unlabelled voxels and classes of (student - teacher)^2.

  Tarvainen and Valpola 2017 (1703.01780); the probabilities are compared. The teacher follows the
  student's weights (`teacher.follow`) and sees other noise. In SSL4MIS's variant, the literature's
  baseline, it is the teacher that sees clipped noise, and the student predicts; its consistency is
  dict(name="gaussian", end=0.1, zero_before=1 / 30). Its noise is of images between 0 and 1; here
  it is in units of the normalised image. The paper compares labelled images, too.

  Args:
    network: returns {"logits"}, and "aux" in training if it has deep-supervision heads.
    loss: of the labelled images; (logits, Target) -> scalar.
    optimiser: an Optax transformation.
    strong: the student's view of the unlabelled images; None is the batch as it is.
    weak: the teacher's.
    consistency: its weight; a ramp, because a young teacher knows nothing.
    decay: of the teacher's average, once a batch, whatever config.optimiser.accumulate is.
    noise: standard deviation of what is added to the teacher's images.
    noise_limit: it is clipped to +-noise_limit.
    cutmix: probability of each image that the student sees to have a box of the next one of the
      batch, whose lesson is mixed likewise (French et al., 1906.01916: noise alone teaches
      segmentation little).
    area: the share of the image that comes from the other one; theirs is half.
    average_statistics: in training the teacher normalises with the running average of the student's
      statistics; else with its batch's own. It always predicts with that average: what its own
      passes would leave, as in SSL4MIS, is of noisy images (half the Dice in a short run on ACDC).
    predict_with: "student", or "teacher", which in short runs lags behind.
    head_decay, drop_last_head: see `supervised`.
    sigmoid: the labels are regions.

  Metrics: supervised_loss, consistency, consistency_weight.
  """
  return with_teacher(
    labelled.supervision(loss, decay=head_decay, drop_last=drop_last_head),
    network,
    optimiser,
    (strong, weak),
    consistency=consistency,
    decay=decay,
    noise=(noise, noise_limit),
    mixing=mixtures.optional("mean_teacher", cutmix, area),
    average_statistics=average_statistics,
    predict_with=predict_with,
    sigmoid=sigmoid,
  )


def with_teacher(
  supervision: Callable,
  network: nn.Module,
  optimiser: optax.GradientTransformation,
  views: tuple[View | None, View | None],
  *,
  consistency: float | Schedule,
  decay: float,
  noise: tuple[float, float],
  mixing: Callable[..., list[mixtures.Mix]] | None,
  average_statistics: bool,
  predict_with: str,
  sigmoid: bool,
  certainty: Certainty | None = None,
) -> Method:
  """`mean_teacher`; `certainty` weighs the voxels that are compared, None is 1 everywhere.

  `noise` are its deviation and limit, `mixing` is of `mixtures.optional`.
  """
  teacher.check_options(decay=decay, predict_with=predict_with)
  strong, weak = views

  def init(key, batch):
    student = learner(network, optimiser, key, batch["image"])
    learners = {teacher.STUDENT: student, teacher.TEACHER: teacher.teacher_of(student)}
    return State(jnp.zeros((), jnp.int32), learners)

  def train_step(state, batch, key):
    student, follower = state.learners[teacher.STUDENT], state.learners[teacher.TEACHER]
    *keys, boxes = jax.random.split(key, 6)
    unlabelled = batch[labelled.UNLABELLED]
    ours = unlabelled if strong is None else strong(keys[0], unlabelled)
    theirs = (unlabelled if weak is None else weak(keys[1], unlabelled))["image"]
    target = batch_module.target(batch, state.step)
    factor = labelled.value(consistency, state.step)

    def teach(images, key):
      noisy, dropout = jax.random.split(key)
      outputs, _ = forward(
        network,
        follower.params,
        follower.stats,
        teacher.perturbed(noisy, images, *noise),
        key=dropout,
        update_stats=not average_statistics,
      )
      return probabilities(outputs["logits"], sigmoid=sigmoid)

    lesson = teach(theirs, keys[2])
    weight = None
    if certainty is not None:
      weight = certainty(teach, theirs, keys[3], state.step)
    if mixing is not None:
      count, *space, _ = theirs.shape
      (mixed,) = mixing(boxes, count, space)
      ours = {**ours, "image": mixed(ours["image"])}
      lesson, weight = mixed(lesson), None if weight is None else mixed(weight)

    def objective(params):
      images = labelled.images(batch, ours)
      outputs, stats = forward(
        network, params, student.stats, images, key=keys[4], update_stats=True
      )
      known, rest = labelled.parts(outputs, batch)
      supervised = supervision(known, target)
      apart = squared_difference(probabilities(rest["logits"], sigmoid=sigmoid), lesson, weight)
      metrics = {"supervised_loss": supervised, "consistency": apart, "consistency_weight": factor}
      metrics |= {} if weight is None else {"certain": weight.mean()}
      return supervised + factor * apart, (stats, metrics)

    updated, metrics = descend(optimiser, student, objective)
    follower = teacher.follow(follower, updated, state.step, decay=decay, statistics=True)
    learners = {teacher.STUDENT: updated, teacher.TEACHER: follower}
    return state.replace(step=state.step + 1, learners=learners), metrics

  def apply(state, batch):
    current = teacher.predicting(state, predict_with)
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)
