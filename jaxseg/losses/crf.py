"""Neighbours that look alike should have one label: a conditional random field as a loss."""

import itertools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import samples
from jaxseg.batch import Array, Target
from jaxseg.losses import voxels

# what a gate lets through, as a function of the voxels' weights
_GATES = {
  "all": jnp.ones_like,
  "labelled": lambda weight: jnp.where(weight > 0, 1.0, 0.0),
  "unlabelled": lambda weight: jnp.where(weight > 0, 0.0, 1.0),
}


def gated_crf(
  logits: Array,
  target: Target,
  *,
  radius: int | Sequence[int] = 5,
  kernels: Sequence[Mapping[str, float]] = ({"weight": 1.0, "position": 6.0, "intensity": 0.1},),
  unit: str = "voxels",
  send: str = "all",
  receive: str = "all",
  sigmoid: bool = False,
) -> jax.Array:
  """Energy of a dense CRF with Potts's model in a local window, per voxel that receives.

  With p the probabilities, x the image and d the distance, over the pairs i != j whose offset is
  at most `radius` along each axis:

      1 / sum_i r_i  sum_i sum_j r_i s_j K_ij sum_k p_ik (1 - p_jk),
      K_ij = sum_m w_m exp(-d_ij^2 / (2 position_m^2) - |x_i - x_j|^2 / (2 intensity_m^2)).

  With all gates open it is the dense CRF loss (Tang et al. 2018, 1803.09569), with the Gaussian cut
  off at the window. Voxels are taken offset by offset, so that memory doesn't grow with the window.
  The authors' own code (LEONOB2014/GatedCRFLoss) adds a constant for neighbours outside of the
  image; here there are none.

  Args:
    logits: (b, *space, k), any float dtype; the sums are float32.
    target: its image (b, *space, channels), on the logits' grid, is what the network is given, in
      whose values `intensity` is; its weight decides which voxels are labelled.
    radius: voxels along each axis, one number or one per axis.
    kernels: each with `weight` (1), and widths of the Gaussians: `position`, `intensity`; without
      one of the two, it does not look at that.
    unit: of `position`: "voxels", or "mm", by the target's spacing.
    send, receive: the gates s and r: "all" voxels, the "labelled" or the "unlabelled" ones.
    sigmoid: k independent channels (regions): the mean over channels of
      p_i (1 - p_j) + (1 - p_i) p_j.

  Returns:
    A float32 scalar.

  Source: Obukhov et al. 2019, 1906.04651.
  """
  _check(kernels, unit, send, receive)
  logits, _, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  if target.image is None:
    raise ValueError("gated_crf: needs the image; give Target.image (batch.target does).")
  image, space = jnp.asarray(target.image, jnp.float32), logits.shape[1:-1]
  if tuple(image.shape[:-1]) != tuple(logits.shape[:-1]):
    raise ValueError(
      f"gated_crf: the image has shape {tuple(image.shape)}; expected {tuple(logits.shape[:-1])} "
      "and its channels, on the logits' grid."
    )
  reach = _reach(radius, len(space))
  scores = voxels.probabilities(logits, sigmoid=sigmoid)
  sizes = jnp.ones((len(logits), len(space)), jnp.float32)
  if unit == "mm":
    if target.spacing is None:
      raise ValueError("gated_crf: unit='mm' needs the spacing; give Target.spacing.")
    sizes = jnp.asarray(target.spacing, jnp.float32)
  sends, receives = (_GATES[gate](weight) for gate in (send, receive))
  # all that an offset looks at, in one array: what is outside of the image has no gate
  channels = [scores, image, sends, receives, jnp.ones_like(weight)]
  ends = np.cumsum([x.shape[-1] for x in channels])[:-1].tolist()
  here = jnp.concatenate(channels, -1)
  padded = jnp.pad(here, [(0, 0), *((r, r) for r in reach), (0, 0)])

  def pairs(offset):
    start = (0, *(offset + jnp.array(reach)), 0)
    there = jax.lax.dynamic_slice(padded, start, here.shape)
    (p, x, s, r, _), (q, y, t, u, inside) = (jnp.split(of, ends, -1) for of in (here, there))
    far = ((offset.astype(jnp.float32)[None] * sizes) ** 2).sum(-1)
    far = far.reshape(-1, *(1,) * (here.ndim - 1))
    unlike = ((x - y) ** 2).sum(-1, keepdims=True)
    differ = p + q - 2 * p * q if sigmoid else p * (1 - q)
    differ = differ.mean(-1, keepdims=True) if sigmoid else differ.sum(-1, keepdims=True)
    return (inside * (r * t + u * s) * _affinity(kernels, far, unlike) * differ).sum(axes)

  # within a loop several CPUs must not ask each other: each sums for its own samples
  axes = range(1 if samples.together_on_cpus() else 0, here.ndim)

  # backward an offset is computed again
  def add(total, offset):
    return total + jax.checkpoint(pairs)(offset), None

  start = jnp.zeros([n for axis, n in enumerate(here.shape) if axis not in axes], jnp.float32)
  energy = jax.lax.scan(add, start, jnp.array(_half(reach), jnp.int32))[0].sum()
  count = receives.sum()
  return energy / jnp.where(count > 0, count, 1)


def _affinity(kernels, far, unlike):
  """The sum of the kernels, of squared distances in space and in intensity."""
  total = 0.0
  for kernel in kernels:
    exponent = jnp.zeros((), jnp.float32).reshape((1,) * unlike.ndim)
    if "position" in kernel:
      exponent = exponent + far / (2 * kernel["position"] ** 2)
    if "intensity" in kernel:
      exponent = exponent + unlike / (2 * kernel["intensity"] ** 2)
    total = total + kernel.get("weight", 1.0) * jnp.exp(-exponent)
  return total


def _half(reach: Sequence[int]) -> list[tuple[int, ...]]:
  """One of each two offsets that are each other's negative."""
  every = itertools.product(*(range(-r, r + 1) for r in reach))
  return [offset for offset in every if offset > (0,) * len(reach)]


def _reach(radius, rank: int) -> tuple[int, ...]:
  reach = (radius,) * rank if isinstance(radius, int) else tuple(radius)
  if len(reach) != rank or min(reach) < 0 or not any(reach):
    raise ValueError(
      f"gated_crf: radius is {radius}; expected a number of voxels from 1, or one for each of the "
      f"{rank} axes, not all 0."
    )
  return reach


def _check(kernels, unit: str, send: str, receive: str) -> None:
  for gate, value in (("send", send), ("receive", receive)):
    if value not in _GATES:
      raise ValueError(f"gated_crf: {gate} is '{value}'; choices: {', '.join(_GATES)}.")
  if unit not in ("voxels", "mm"):
    raise ValueError(f"gated_crf: unit is '{unit}'; expected 'voxels' or 'mm'.")
  for kernel in kernels:
    widths = [kernel.get(name, 1.0) for name in ("position", "intensity")]
    strange = set(kernel) - {"weight", "position", "intensity"}
    if strange or not {"position", "intensity"} & set(kernel) or min(widths) <= 0:
      raise ValueError(
        f"gated_crf: the kernel {dict(kernel)} is none; expected weight (1), and position or "
        "intensity or both, numbers above 0."
      )
  if not kernels or not all(math.isfinite(k.get("weight", 1.0)) for k in kernels):
    raise ValueError(f"gated_crf: kernels are {kernels!r}; expected one or more.")
