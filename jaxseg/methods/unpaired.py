"""One network for unpaired domains, as CT and MR: shared convolutions, each domain's own norms."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg import samples
from jaxseg.losses import Loss, centre_crop_target
from jaxseg.losses.class_confusion import confusion, confusion_distance
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import by_domain
from jaxseg.methods.labelled import supervision, value
from jaxseg.schedules import Schedule

NETWORK = "network"
_WHERE = "config.method.own"


def unpaired(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  own: Sequence[str] = (by_domain.NORMS,),
  distillation: float | Schedule = 0.5,
  temperature: float = 2.0,
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  sigmoid: bool = False,
) -> Method:
  """Learns several labelled domains together: the main stream, and every further one with labels.

  The sum of each domain's loss + distillation * the distance between what domains mistake classes
  for (`losses.class_confusion`), a mean over pairs of domains. No image needs to have another one
  of the same patient, nor of the same size.

  What a domain has of its own says how much is shared: ("norms",) is the paper's, norms alone, some
  0.05 % of a network; () is one network for all, which sees their samples as one batch; ("*",) are
  networks of their own; ("norms", "encoder*") a Y, whose decoder is shared, and with the stages at
  both ends an X, whose middle is. Domains go through the network one by one, so that batch norms
  never mix them: a batch norm that is shared beside others that are not is refused.

  `apply` takes the field `domain`, a number of `by_domain.names`; without one it is the main
  stream's.

  Args:
    network: the one that predicts.
    loss: (logits, Target) -> scalar, or one for each domain (`by_domain.Losses`); the paper's is
      Dice and cross entropy, weighed by 1 - a class's frequency in the domain, and
      config.optimiser.l2 = 1e-4.
    optimiser: an Optax transformation.
    own: patterns of the paths of parameters that each domain has of its own, or "norms".
    distillation: weight of the distance, or a schedule of it.
    temperature: softens what is compared.
    head_decay, drop_last_head: see `supervised`.
    sigmoid: the labels are regions.

  Metrics: a loss for each domain, as `mr_loss`; `confusion_distance`.
  Source: Dou, Liu, Heng and Glocker 2020, 2001.03111; X: Valindria et al. 2018.
  """

  def heads(name):
    own = by_domain.loss_of(loss, name)
    return supervision(own, decay=head_decay, drop_last=drop_last_head)

  def init(key, batch):
    names = _checked(batch)
    first = learner(network, None, key, batch["image"])
    is_own = by_domain.ownership(first, own, _WHERE)
    params = by_domain.arranged(first.params, names[1:], is_own)
    stats = {
      kind: by_domain.arranged(tree, names[1:], is_own) if kind == by_domain.STATISTICS else tree
      for kind, tree in first.stats.items()
    }
    net = first.replace(params=params, stats=stats, opt_state=optimiser.init(params))
    return State(jnp.zeros((), jnp.int32), {NETWORK: net})

  def one_by_one(params, stats, batch, key):
    """Domain -> outputs, and the new statistics."""
    outputs, new = {}, stats
    for number, name in enumerate(by_domain.names(batch)):
      # the main domain's noise is that of a network of its own
      noise = jax.random.fold_in(key, number) if number else key
      before = {kind: by_domain.of_domain(tree, name) for kind, tree in stats.items()}
      outputs[name], after = forward(
        network,
        by_domain.of_domain(params, name),
        before,
        by_domain.part(batch, name)["image"],
        key=noise,
        update_stats=True,
      )
      new = {kind: by_domain.put(tree, name, after[kind]) for kind, tree in new.items()}
    return outputs, new

  def together(params, stats, batch, key):
    """As `one_by_one`, of one batch of all domains' samples."""
    names = by_domain.names(batch)
    parts = [by_domain.part(batch, name)["image"] for name in names]
    everything, new = forward(
      network, params, stats, samples.joined(*parts), key=key, update_stats=True
    )
    counts = [len(part) for part in parts]
    leaves, structure = jax.tree.flatten(everything)
    pieces = [samples.apart(leaf, counts) for leaf in leaves]
    of = [jax.tree.unflatten(structure, each) for each in zip(*pieces, strict=True)]
    return dict(zip(names, of, strict=True)), new

  def train_step(state, batch, key):
    names, current = by_domain.names(batch), state.learners[NETWORK]
    targets = {name: batch_module.target(by_domain.part(batch, name), state.step) for name in names}
    weight = value(distillation, state.step)

    def objective(params):
      outputs, stats = (one_by_one if own else together)(params, current.stats, batch, key)
      losses = {name: heads(name)(outputs[name], targets[name]) for name in names}
      confusions = [_confusion(outputs[name]["logits"], targets[name]) for name in names]
      pairs = list(itertools.combinations(confusions, 2))
      apart = sum(
        confusion_distance(*pair, temperature=temperature, sigmoid=sigmoid) for pair in pairs
      ) / len(pairs)
      told = {f"{name}_loss": of for name, of in losses.items()}
      return sum(losses.values()) + weight * apart, (stats, {**told, "confusion_distance": apart})

    updated, metrics = descend(optimiser, current, objective)
    return state.replace(step=state.step + 1, learners={NETWORK: updated}), metrics

  def _confusion(logits, target):
    # valid convolutions give less than the image's grid
    return confusion(logits, centre_crop_target(target, logits.shape[1:-1]), sigmoid=sigmoid)

  def _checked(batch):
    names = by_domain.names(batch)
    if len(names) == 1:
      raise ValueError(
        "config.streams: the method 'unpaired' learns from several domains, each a stream with "
        "labels, and there is the main stream alone; add another, as "
        "config.streams.mr=dict(source=dict(...))."
      )
    main = batch["image"].shape
    for name in names[1:]:
      shape = batch[name]["image"].shape
      if len(shape) != len(main):
        raise ValueError(
          f"config.streams.{name}: its patches have {len(shape) - 2} axes, the main stream's "
          f"{len(main) - 2}, and one network cannot take both."
        )
      if not own and shape[1:-1] != main[1:-1]:
        raise ValueError(
          f"config.streams.{name}.patch: {shape[1:-1]}, the main stream's is {main[1:-1]}, and "
          f"{_WHERE}=() puts both in one batch; leave the field out."
        )
      if shape[-1] != main[-1]:
        raise ValueError(
          f"config.streams.{name}: its images have {shape[-1]} channel(s), the main stream's "
          f"{main[-1]}, and one network cannot take both."
        )
    return names

  def apply(state, batch):
    params, stats = by_domain.network_of(state.learners[NETWORK], batch.get("domain"))
    return forward(network, params, stats, batch["image"])[0]

  return Method(init, train_step, apply)
