"""Fitting a target to what a network gives: deep supervision, valid convolutions."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array, Target
from jaxseg.losses.combination import Loss
from jaxseg.schedules import Schedule


def _map_spatial(function: Callable[[Array], Array], target: Target) -> Target:
  """Applies a function of one (b, *space, ...) array to every array of a target."""
  weight = None if target.weight is None else function(target.weight)
  maps = {name: function(values) for name, values in target.maps.items()}
  image = None if target.image is None else function(target.image)
  return target._replace(labels=function(target.labels), weight=weight, maps=maps, image=image)


def nearest(values: Array, shape: Sequence[int]) -> Array:
  """Resamples the spatial axes of (b, *space, ...) to `shape` by the nearest voxel centre.

  Voxel i takes floor((i + 1/2) * old / new), PyTorch's "nearest-exact", for any ratio: labels
  are never averaged.
  """
  for axis, new in enumerate(shape, start=1):
    old = values.shape[axis]
    if old % new == 0:
      # the same voxels as below, without a gather, which accelerators are slow at
      stride = old // new
      values = jax.lax.slice_in_dim(jnp.asarray(values), stride // 2, old, stride, axis)
    else:
      values = jnp.take(values, ((2 * np.arange(new) + 1) * old) // (2 * new), axis)
  return values


def _coarser(target: Target, space: Sequence[int]) -> Target:
  """The target on a level's grid, whose voxels are larger."""
  out = _map_spatial(lambda values: nearest(values, space), target)
  if target.spacing is None:
    return out
  fine = target.labels.shape[1 : 1 + len(space)]
  ratio = np.array([old / new for old, new in zip(fine, space, strict=True)], np.float32)
  return out._replace(spacing=target.spacing * ratio[None])


def level_weights(levels: int, *, decay: float = 0.5, drop_last: bool = False) -> tuple[float, ...]:
  """decay^level, 0 at the coarsest if it is dropped, normalised to sum 1 (nnU-Net's)."""
  weights = decay ** np.arange(levels, dtype=np.float64)
  if drop_last and levels > 1:
    weights[-1] = 0
  return tuple((weights / weights.sum()).tolist())


def deep_supervision(
  loss: Loss,
  *,
  decay: float = 0.5,
  drop_last: bool = False,
  weights: Sequence[float] | None = None,
  auxiliary: float | Schedule = 1.0,
  auxiliary_loss: Loss | None = None,
) -> Callable[[Sequence[Array], Target], jax.Array]:
  """A loss over several resolutions (Lee et al. 2015, 1409.5185), weighted as in nnU-Net.

  Args:
    loss: (logits, target) -> scalar, applied at each resolution.
    decay: weight of a level over that of the next finer one; all together sum to 1.
    drop_last: the coarsest level counts nothing.
    weights: fixed weights instead, one per level, finest first, taken as they are.
    auxiliary: factor of all levels but the finest; a callable is a schedule of the training step
      (`target.step`), for heads that help at first only (Dou et al. 2016, 1607.00582).
    auxiliary_loss: of these levels; None is `loss`.

  Returns:
    (list of (b, *space_i, k) logits, finest first; Target on the finest's grid) -> float32
    scalar. The target is resampled to each level by nearest voxel, whatever the ratio per axis.
    It raises ValueError where the levels are not as many as `weights`, or there is only one
    and an option that weighs the coarser ones.
  """
  weighed = {"drop_last": drop_last, "decay": decay != 0.5, "auxiliary": auxiliary != 1.0}
  weighed["auxiliary_loss"] = auxiliary_loss is not None
  of_coarser = loss if auxiliary_loss is None else auxiliary_loss
  if weights is not None and (decay != 0.5 or drop_last):
    option = "decay" if decay != 0.5 else "drop_last"
    raise ValueError(
      f"deep supervision: '{option}' has no effect beside weights {tuple(weights)}, taken as they "
      "are; give one of the two (a config's method.head_weights, or head_decay and drop_last_head)."
    )

  if weights and not any(weights):
    raise ValueError(
      f"deep supervision: weights {tuple(weights)}, so that nothing would be learnt; expected one "
      "above 0 (a config's method.head_weights)."
    )
  if auxiliary_loss is not None and (auxiliary == 0 or (weights and not any(weights[1:]))):
    option = "auxiliary=0" if auxiliary == 0 else f"weights {tuple(weights)}"
    raise ValueError(
      f"deep supervision: a loss of the coarser outputs has no effect beside {option}; leave it "
      "out (a config's losses.auxiliary), or weigh them (method.head_weights, auxiliary)."
    )

  def total(logits: Sequence[Array], target: Target) -> jax.Array:
    levels = len(logits)
    if levels == 1 and any(weighed.values()):
      option = next(name for name, differs in weighed.items() if differs)
      raise ValueError(
        f"deep supervision: '{option}' is of the coarser outputs, but the network gives one alone; "
        "let it have deep-supervision heads, or leave the option out (a config's "
        "method.drop_last_head, head_decay, auxiliary, or losses.auxiliary)."
      )
    shares = level_weights(levels, decay=decay, drop_last=drop_last) if weights is None else weights
    if len(shares) != levels:
      raise ValueError(
        f"deep supervision: {len(shares)} weights {tuple(shares)} for {levels} levels; give "
        "one for each output of the network, finest first (a config's method.head_weights)."
      )
    factor = auxiliary(target.step) if callable(auxiliary) else auxiliary
    out = jnp.zeros((), jnp.float32)
    for level, (weight, scores) in enumerate(zip(shares, logits, strict=True)):
      if weight and level:
        out += factor * weight * of_coarser(scores, _coarser(target, scores.shape[1:-1]))
      elif weight:
        # the finest level's target is used as it is: a wrong size there is an error to report
        out += weight * loss(scores, target)
    return out

  return total


def centre_crop_target(target: Target, shape: Sequence[int]) -> Target:
  """The centre of a target, for networks whose valid convolutions lose a margin.

  Args:
    target: arrays (b, *space, ...).
    shape: the spatial shape of the logits; raises ValueError where it exceeds the target's.
  """
  shape = tuple(shape)
  space = tuple(target.labels.shape[1 : 1 + len(shape)])
  if any(new > old for new, old in zip(shape, space, strict=True)):
    raise ValueError(
      f"centre_crop_target: the logits' space {shape} exceeds the labels' {space}; a network's "
      "output is at most as large as its input."
    )
  low = [(old - new) // 2 for new, old in zip(shape, space, strict=True)]
  crop = (slice(None), *(slice(at, at + new) for at, new in zip(low, shape, strict=True)))
  return _map_spatial(lambda values: values[crop], target)
