"""The sandwich rule: a network, the smallest one within it, and some between learn together."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.losses import Loss
from jaxseg.losses.distillation import logits_distance, softened
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods.labelled import supervision, value
from jaxseg.schedules import Schedule
from jaxseg.search import elastic


def sandwich(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  widths: Sequence[Sequence[int]],
  kernels: Sequence[int] = (3,),
  between: int = 2,
  distillation: float | Schedule = 1.0,
) -> Method:
  """Trains a `plain_conv_unet` such that smaller ones, cut out of it, share its weights.

  In each step learn: the whole network from the labels, the smallest one and `between` drawn ones
  from the labels and from what the whole network says of the batch. `search.elastic.cut` gives the
  weights of one of them; the whole network predicts. Metrics: `smallest_loss`, `drawn_loss`.

  Args:
    network: the largest, with instance norms.
    loss, optimiser: as of `supervised`.
    widths: of each stage the numbers of channels to choose from, the finest first; the largest is
      the network's.
    kernels: the sizes to choose from, for every stage; the largest is the network's.
    between: networks drawn in each step.
    distillation: weight of the divergence from the whole network's probabilities.

  Sources: Yu, Huang, 1903.05134 (the rule); Cai et al., 1908.09791 (kernels and widths).
  """
  options = _checked(network, widths, kernels)
  heads = supervision(loss)

  def init(key, batch):
    step = jnp.zeros((), jnp.int32)
    return State(step, {"network": learner(network, optimiser, key, batch["image"])})

  def train_step(state, batch, key):
    current, target = state.learners["network"], batch_module.target(batch, state.step)
    smallest = [[min(of) for of in part] for part in options]
    keys = jax.random.split(key, 2 * between).reshape(between, 2)
    sizes = [smallest]
    sizes += [[elastic.drawn(*of) for of in zip(own, options, strict=True)] for own in keys]
    scale = value(distillation, state.step)

    def of(params):
      outputs, stats = forward(
        network, params, current.stats, batch["image"], key=key, update_stats=True, train=True
      )
      whole = heads(outputs, target)
      said = softened(jax.lax.stop_gradient(outputs["logits"]))
      parts = []
      for chosen in sizes:
        own = elastic.masked(params, *chosen)
        made, _ = forward(
          network, own, current.stats, batch["image"], key=key, update_stats=True, train=True
        )
        parts.append(heads(made, target) + scale * logits_distance(made["logits"], said))
      metrics = {"whole_loss": whole, "smallest_loss": parts[0]}
      if between:
        metrics["drawn_loss"] = sum(parts[1:]) / between
      return (whole + sum(parts)) / (1 + len(parts)), (stats, metrics)

    updated, metrics = descend(optimiser, current, of)
    return state.replace(step=state.step + 1, learners={"network": updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)


def _checked(network: nn.Module, widths, kernels) -> tuple[list, list]:
  """The options of each stage, widths and kernels; raises ValueError for what is not within."""
  own = tuple(getattr(network, "widths", ()))
  if not own or getattr(network, "norm", None) != "instance" or not hasattr(network, "kernels"):
    raise ValueError(
      f"sandwich: the network {type(network).__name__} has no stages with instance norms to cut "
      "smaller ones out of; expected dict(name='plain_conv_unet')."
    )
  if len(widths) != len(own) or not all(of and min(of) >= 1 for of in widths):
    raise ValueError(
      f"sandwich: widths={tuple(map(tuple, widths))} for a network of {len(own)} stages; expected "
      "one number of channels or more for each of them."
    )
  if [max(of) for of in widths] != list(own):
    raise ValueError(
      f"sandwich: the largest widths are {tuple(max(of) for of in widths)}, the network's "
      f"{own}; expected the same."
    )
  sizes = network.kernels
  sizes = {sizes} if isinstance(sizes, int) else set(sizes)
  if not kernels or sizes != {max(kernels)} or not all(k % 2 and k > 0 for k in kernels):
    raise ValueError(
      f"sandwich: kernels={tuple(kernels)}, the network's are {network.kernels}; expected odd "
      "sizes the largest of which is the network's, in all stages."
    )
  return [tuple(of) for of in widths], [tuple(kernels)] * len(own)
