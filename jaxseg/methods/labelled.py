"""What methods share that learn from labels and from more than labels."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg import samples
from jaxseg.batch import Array, Batch, Target
from jaxseg.losses import Loss, centre_crop_target, deep_supervision
from jaxseg.method import Method, Metrics, State, descend, forward, learner
from jaxseg.schedules import Schedule

# the stream of cases without labels
UNLABELLED = "unlabelled"
Outputs = dict[str, Array]
# (outputs for images with labels, without labels, batch, step) -> (what is added, metrics)
Term = Callable[[Outputs, Outputs, Batch, Array], tuple[Array, Metrics]]


def supervision(
  loss: Loss,
  *,
  decay: float = 0.5,
  drop_last: bool = False,
  weights: Sequence[float] | None = None,
  auxiliary: float | Schedule = 1.0,
  auxiliary_loss: Loss | None = None,
) -> Callable[[Outputs, Target], jax.Array]:
  """(a network's outputs in training, Target) -> the loss of all its heads.

  Args:
    loss: (logits, Target) -> scalar.
    decay, drop_last, weights, auxiliary, auxiliary_loss: see `deep_supervision`.
  """
  heads = deep_supervision(
    loss,
    decay=decay,
    drop_last=drop_last,
    weights=weights,
    auxiliary=auxiliary,
    auxiliary_loss=auxiliary_loss,
  )

  def of(outputs: Outputs, target: Target) -> jax.Array:
    finest = outputs["logits"] if "logits" in outputs else outputs["image"]
    # valid convolutions give less than the image's grid
    fitted = centre_crop_target(target, finest.shape[1:-1])
    return heads([finest, *outputs.get("aux", ())], fitted)

  return of


def fitting(
  network: nn.Module,
  objective: Callable[[Outputs, Target], tuple[Array, Metrics]],
  optimiser: optax.GradientTransformation,
  *,
  freeze_statistics: bool = False,
) -> Method:
  """One network that minimises what `objective` says of its outputs in training and the labels."""

  def init(key, batch):
    step = jnp.zeros((), jnp.int32)
    return State(step, {"network": learner(network, optimiser, key, batch["image"])})

  def train_step(state, batch, key):
    current = state.learners["network"]
    target = batch_module.target(batch, state.step)

    def of(params):
      outputs, stats = forward(
        network,
        params,
        current.stats,
        batch["image"],
        key=key,
        update_stats=not freeze_statistics,
        train=True,
      )
      total, metrics = objective(outputs, target)
      return total, (stats, metrics)

    updated, metrics = descend(optimiser, current, of)
    return state.replace(step=state.step + 1, learners={"network": updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)


def images(batch: Batch, unlabelled: Batch | None = None) -> Array:
  """The labelled images and those of the stream without labels, as one batch; see `parts`.

  `unlabelled` is another view of that stream.
  """
  rest = batch[UNLABELLED] if unlabelled is None else unlabelled
  return samples.joined(batch["image"], rest["image"])


def parts(outputs: Outputs, batch: Batch) -> tuple[Outputs, Outputs]:
  """The outputs of `images`: of those with labels, of those without."""
  counts = len(batch["image"]), len(batch[UNLABELLED]["image"])
  of = [samples.apart(x, counts) for x in jax.tree.leaves(outputs)]
  structure = jax.tree.structure(outputs)
  return tuple(jax.tree.unflatten(structure, each) for each in zip(*of, strict=True))


def check_output(outputs: Outputs, name: str, network: nn.Module) -> None:
  """Raises ValueError where a network lacks the output that a method's `features` names."""
  if name not in outputs:
    raise ValueError(
      f"config.method.features: '{name}', but the network {type(network).__name__} gives "
      f"{', '.join(sorted(outputs))}; expected one of these."
    )


def value(option: float | Schedule, step) -> Array | float:
  """An option that is a number or a schedule, at a step."""
  return option(step) if callable(option) else option


def regularised(
  network: nn.Module,
  supervision: Callable[[Outputs, Target], Array],
  optimiser: optax.GradientTransformation,
  *,
  term: Term,
  weight: float | Schedule,
) -> Method:
  """One network that minimises the loss of the labelled images + weight * a term of all of them.

  Both go through the network as one batch, so that a batch norm's statistics are those of both.
  """

  def init(key, batch):
    step = jnp.zeros((), jnp.int32)
    return State(step, {"network": learner(network, optimiser, key, batch["image"])})

  def train_step(state, batch, key):
    current, factor = state.learners["network"], value(weight, state.step)
    target = batch_module.target(batch, state.step)

    def objective(params):
      outputs, stats = forward(
        network, params, current.stats, images(batch), key=key, update_stats=True
      )
      known, rest = parts(outputs, batch)
      supervised = supervision(known, target)
      added, metrics = term(known, rest, batch, state.step)
      metrics = {"supervised_loss": supervised, "weight": factor, **metrics}
      return supervised + factor * added, (stats, metrics)

    updated, metrics = descend(optimiser, current, objective)
    return state.replace(step=state.step + 1, learners={"network": updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)
