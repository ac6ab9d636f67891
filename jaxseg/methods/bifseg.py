"""BIFSeg: the last layers of a trained network are fine-tuned on the one image a user marks."""

from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxseg.batch import Array, Batch
from jaxseg.interaction.distances import geodesic_distance
from jaxseg.method import State, merge, split


def fine_tuned(
  apply: Callable[[State, Batch], dict[str, Array]],
  state: State,
  batch: Batch,
  marks: Array,
  *,
  layers: Collection[str],
  learner: str = "network",
  optimiser: optax.GradientTransformation | None = None,
  rounds: int = 4,
  steps: int = 20,
  weight: float = 5.0,
  uncertain: tuple[float, float] = (0.2, 0.7),
  near: float = 0.2,
  smoothness: float = 1.0,
  contrast: float = 0.5,
) -> State:
  """The state whose network says of one image what its user marked, and stays sure where it was.

  In turns: labels are what the network says, smoothed where the image is smooth, with the marks as
  they are; then the network learns these labels for some steps, by cross entropy with weight
  `weight` of marks, 0 where it is not sure or where a mark is near, and 1 of all else. Under jit.

  Args:
    apply: a method's.
    state: trained. Norms use their running statistics, which stay.
    batch: one sample, {"image": (1, *space, channels)} and what else the method takes.
    marks: (*space, classes) bool, what is marked of which class; the background is class 0.
    layers: patterns of paths of the parameters that learn, as "head*".
    learner: whose parameters they are.
    optimiser: an Optax transformation; None is SGD with rate 0.01 and momentum 0.9.
    rounds: of labels and network.
    steps: of the network in each round.
    weight: of marked voxels, the paper's omega.
    uncertain: a voxel is unsure if any class but 0 has a share between the two.
    near: ways along the image (`geodesic_distance`) below this are near to a mark.
    smoothness: of labels: how much a voxel's neighbours count; 0 is not at all.
    contrast: difference of the image beyond which neighbours count little.

  Raises ValueError for several samples, and for patterns that name nothing.
  Source: Wang et al., "BIFSeg", 1710.04043, with mean field in the place of its graph cut.
  """
  if len(batch["image"]) != 1:
    raise ValueError(
      f"bifseg: a batch of {len(batch['image'])} images; expected the one that was marked."
    )
  tx = optax.sgd(0.01, momentum=0.9) if optimiser is None else optimiser
  image, marks = batch["image"][0], jnp.asarray(marks, bool)
  own = state.learners[learner]
  chosen, rest = split(own.params, layers)
  links = _links(image, contrast)
  close = geodesic_distance(image, marks.any(-1)) < near

  def scores(chosen):
    params = merge(chosen, rest)
    learners = {**state.learners, learner: own.replace(params=params)}
    return apply(state.replace(learners=learners), batch)["logits"][0]

  def one_round(carry, _):
    chosen, opt_state = carry
    said = jax.nn.log_softmax(scores(chosen))
    labels = _smoothed(said, marks, links, smoothness)
    share = jnp.exp(said[..., 1:])
    unsure = ((share > uncertain[0]) & (share < uncertain[1])).any(-1) | close
    weights = jnp.where(marks.any(-1), weight, jnp.where(unsure, 0.0, 1.0))

    def loss(chosen):
      losses = optax.softmax_cross_entropy_with_integer_labels(scores(chosen), labels)
      return (weights * losses).sum() / jnp.maximum(weights.sum(), 1)

    def one_step(carry, _):
      chosen, opt_state = carry
      updates, opt_state = tx.update(jax.grad(loss)(chosen), opt_state, chosen)
      return (optax.apply_updates(chosen, updates), opt_state), None

    return lax.scan(one_step, (chosen, opt_state), None, length=steps)[0], None

  (chosen, _), _ = lax.scan(one_round, (chosen, tx.init(chosen)), None, length=rounds)
  learners = {**state.learners, learner: own.replace(params=merge(chosen, rest))}
  return state.replace(learners=learners)


def _links(image, contrast):
  """Of each axis how alike a voxel and the next one are, 0 to 1: (*space) float32, 0 at the end."""
  links = []
  for axis in range(image.ndim - 1):
    squares = (jnp.diff(image, axis=axis) ** 2).sum(-1)
    alike = jnp.exp(-squares / (2 * contrast**2))
    links.append(jnp.pad(alike, [(0, 1) if a == axis else (0, 0) for a in range(alike.ndim)]))
  return links


def _smoothed(said, marks, links, smoothness, *, turns: int = 5):
  """(*space, classes) log-shares -> labels: five turns of mean field, the marks held."""
  fixed = marks.any(-1, keepdims=True)

  def shares(scores):
    return jnp.where(fixed, marks.astype(jnp.float32), jax.nn.softmax(scores))

  def turn(_, now):
    around = jnp.zeros_like(said)
    for axis, alike in enumerate(links):
      alike = alike[..., None]
      # the last voxel is linked to no next one, so that nothing comes around the end
      around += alike * jnp.roll(now, -1, axis) + jnp.roll(alike * now, 1, axis)
    return shares(said + smoothness * around)

  return jnp.argmax(lax.fori_loop(0, turns, turn, shares(said)), -1).astype(jnp.int32)
