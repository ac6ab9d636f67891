"""Hung et al.: a critic scores every voxel, and where it is content the network teaches itself."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg import samples
from jaxseg.batch import Target
from jaxseg.losses import Loss, cross_entropy, gan
from jaxseg.losses.consistency import pseudo_labels
from jaxseg.losses.voxels import probabilities
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import critics, labelled
from jaxseg.methods.critics import CRITIC, NETWORK
from jaxseg.schedules import Schedule


def hung(
  network: nn.Module,
  critic: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  critic_optimiser: optax.GradientTransformation,
  *,
  fool: float | Schedule = 0.01,
  fool_unlabelled: float | Schedule = 0.001,
  semi: float | Schedule = 0.1,
  threshold: float = 0.2,
  judge_unlabelled: bool = True,
  head_decay: float = 0.5,
  freeze_statistics: bool = False,
  sigmoid: bool = False,
) -> Method:
  """Adversarial learning for semi-supervised segmentation (Hung et al. 2018, 1802.07934).

  loss(labelled) + fool * adversarial(labelled) + fool_unlabelled * adversarial(unlabelled) + semi *
  CE(unlabelled, its own argmax), the last where sigmoid(score) >= threshold, a mean over the voxels
  that are kept. The critic sees maps of classes alone, and learns, each voxel by itself, that
  labels are real and the network's maps are not. It is not asked where the network is applied.

  In the paper `semi` begins after a quarter of training, when the critic is worth asking:
  dict(name="piecewise", at=(0.25,), values=(0.0, 0.1)). Voxels of weight 0 are hidden from the
  critic and left out of its loss. Labels of the critic are not flipped or smoothed.
  Metrics: `kept`, the share of unlabelled voxels that teach; `critic_accuracy`; the parts' losses.

  Args:
    network: the one that predicts.
    critic: gives a score for each voxel, as fully_convolutional_critic.
    loss: (logits, Target) -> scalar, of the labelled.
    optimiser, critic_optimiser: Optax transformations.
    fool, fool_unlabelled: weights of the adversarial terms, or schedules of them.
    semi: weight of the network's own labels, or a schedule of it.
    threshold: of the critic's confidence, from which on a voxel is kept.
    judge_unlabelled: the critic learns from the maps of unlabelled images, too (the paper's code).
    head_decay, freeze_statistics: see `supervised`.
    sigmoid: the labels are regions.
  """
  supervised = labelled.supervision(loss, decay=head_decay)
  if critics.takes_two(critic):
    raise ValueError(
      f"hung: its critic sees the map of classes alone, and {type(critic).__name__} "
      "(config.networks.critic) takes an image as well; expected fully_convolutional_critic."
    )

  def init(key, batch):
    # the network's key is that of `supervised`, so that both start alike
    theirs = jax.random.fold_in(key, 1)
    net = learner(network, optimiser, key, batch["image"])

    def seen():
      logits = forward(network, net.params, net.stats, batch["image"])[0]["logits"]
      return (jax.nn.softmax(logits.astype(jnp.float32)),)

    judge, outputs = critics.critic_learner(critic, critic_optimiser, theirs, seen)
    score, space = outputs["score"].shape, jax.eval_shape(seen)[0].shape[:-1]
    if score != (*space, 1):
      raise ValueError(
        f"hung: its critic scores every voxel, and {type(critic).__name__} "
        f"(config.networks.critic) gives scores of shape {score} for maps of {space}; expected "
        "fully_convolutional_critic."
      )
    return State(jnp.zeros((), jnp.int32), {NETWORK: net, CRITIC: judge})

  def train_step(state, batch, key):
    net, judge = state.learners[NETWORK], state.learners[CRITIC]
    target = batch_module.target(batch, state.step)
    noise, of_critic = jax.random.split(key)
    weights = [labelled.value(at, state.step) for at in (fool, fool_unlabelled, semi)]

    def segment(params):
      outputs, stats = forward(
        network,
        params,
        net.stats,
        labelled.images(batch),
        key=noise,
        update_stats=not freeze_statistics,
        train=True,
      )
      known, unknown = labelled.parts(outputs, batch)
      maps, _, visible = critics.judged_maps(known["logits"], target, sigmoid=sigmoid)
      free = probabilities(unknown["logits"], sigmoid=sigmoid)
      both = critics.ask(critic, judge.params, judge.stats, (samples.joined(maps, free),))[0]
      of_known, of_unknown = samples.apart(both["score"], (len(maps), len(free)))
      labels, _ = pseudo_labels(unknown["logits"], sigmoid=sigmoid)
      sure = jax.nn.sigmoid(jax.lax.stop_gradient(of_unknown[..., 0])) >= threshold
      own = Target(labels, sure.astype(jnp.float32))
      parts = {
        "supervised_loss": supervised(known, target),
        "adversarial_loss": gan.network_loss("bce", of_known, weight=visible),
        "unlabelled_adversarial_loss": gan.network_loss("bce", of_unknown),
        "semi_loss": cross_entropy(unknown["logits"], own, sigmoid=sigmoid),
      }
      total = sum(weight * part for weight, part in zip((1, *weights), parts.values(), strict=True))
      return total, (stats, {**parts, "kept": sure.mean(), "logits": outputs["logits"]})

    net, metrics = descend(optimiser, net, segment)
    # no metric: the critic learns from the same pass
    known, unknown = labelled.parts({"logits": metrics.pop("logits")}, batch)
    maps, truth, visible = critics.judged_maps(known["logits"], target, sigmoid=sigmoid)
    fakes, of_fakes = [maps], [visible]
    if judge_unlabelled:
      fakes.append(probabilities(unknown["logits"], sigmoid=sigmoid))
      of_fakes.append(jnp.ones(fakes[-1].shape[:-1]))
    fake, of_fake = samples.joined(*fakes), samples.joined(*of_fakes)

    objective = critics.tell_apart(
      critic, (truth,), (fake,), real_weight=visible, fake_weight=of_fake
    )
    judge, of_judge = critics.learn(critic_optimiser, judge, objective, of_critic)
    learners = {NETWORK: net, CRITIC: judge}
    return state.replace(step=state.step + 1, learners=learners), {**metrics, **of_judge}

  def apply(state, batch):
    net = state.learners[NETWORK]
    return forward(network, net.params, net.stats, batch["image"])[0]

  return Method(init, train_step, apply)
