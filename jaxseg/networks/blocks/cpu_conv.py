"""Convolution on CPU, in 2D and 3D, out of the operations that XLA is fast at there.

Forward and the gradient of the input are XLA's 2D convolutions, a volume as a batch of slices.
Where it pays, four neighbours along an axis are made of six of them instead of twelve.
Nothing around them changes the rank of an image: XLA would make what comes before it twice, once
for each rank.
The gradient of the kernel, which XLA computes on one core, is a loop of matrix products. What each
of these gave is in docs/benchmarks.md.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg import samples
from jaxseg.networks.blocks import winograd
from jaxseg.networks.blocks.linear import bilinear

VOXELS = 1024  # of a block in the gradient's loop: its patches then stay in the cache
MANY = 32  # features up to which one product gives those of all depth taps
DEEP = 32  # slices from which on a volume is padded in depth: fewer have their outputs padded
FEW = 4  # input channels of a first layer, whose gradient XLA computes well
TAPS = 27  # of a depthwise kernel that is unrolled; more take too long to compile
# Channels times features, and products, from which on a convolution along the depth of a volume, or
# along y, is made with fewer products, and the gradient of its kernel: what is saved grows with the
# channels, and sums are passes over memory. Each convolution of that kind takes longer to compile.
LEAST = {"z": 16 * 16, "y": 64 * 64}
LEAST_GRADIENT = {"z": 64 * 32, "y": 128 * 128}
PRODUCTS = 400_000_000


def convolve_on_cpu(x, kernel, *, stride, padding, dilation, groups):
  """`lax.conv_general_dilated` for channels-last images and volumes; computes in float32."""
  dtype = x.dtype
  x, kernel = x.astype(jnp.float32), kernel.astype(jnp.float32)
  if groups == x.shape[-1] > 1 and math.prod(kernel.shape[:-2]) <= TAPS:
    out = _depthwise(x, kernel, stride, padding, dilation)
  elif x.shape[-1] <= FEW or groups > 1:
    out = _slices(x, kernel, stride, padding, dilation, groups)
  else:
    product = _Product(x.shape[1:-1], kernel.shape[:-2], stride, padding, dilation, samples.mesh())
    out = product.output(x, kernel)
  return out.astype(dtype)


class _Product(NamedTuple):
  """What a convolution's output, and the gradients of its input and kernel, are functions of.

  Each of the three is bilinear, and the other two are its transposes.
  """

  space: tuple[int, ...]
  taps: tuple[int, ...]
  stride: tuple[int, ...]
  padding: tuple[tuple[int, int], ...]
  dilation: tuple[int, ...]
  mesh: jax.sharding.Mesh | None

  def output(self, x, kernel):
    return bilinear(
      lambda x, kernel: _convolve(x, kernel, self.stride, self.padding, self.dilation),
      self.of_input,
      self.of_kernel,
    )(x, kernel)

  def of_input(self, y, kernel):
    reach = [d * (k - 1) for d, k in zip(self.dilation, self.taps, strict=True)]
    around = tuple((r - low, r - high) for r, (low, high) in zip(reach, self.padding, strict=True))

    def function(y, kernel):
      mirrored = jnp.flip(kernel, range(kernel.ndim - 2)).swapaxes(-1, -2)
      axis = _tiled_axis(y.shape, mirrored.shape, self.stride, self.dilation, LEAST)
      if axis and np.min(around) >= 0:
        return _convolve(y, mirrored, self.stride, around, self.dilation)
      x = jax.ShapeDtypeStruct((y.shape[0], *self.space, kernel.shape[-2]), y.dtype)
      options = (self.stride, self.padding, self.dilation)
      return jax.linear_transpose(lambda x: _slices(x, kernel, *options), x)(y)[0]

    return bilinear(function, self.output, lambda y, x: self.of_kernel(x, y))(y, kernel)

  def of_kernel(self, x, y):
    shape = (*self.taps, x.shape[-1], y.shape[-1])
    axis = _tiled_axis(x.shape, shape, self.stride, self.dilation, LEAST_GRADIENT)
    taps = tuple(1 if i == axis - 1 else k for i, k in enumerate(self.taps))
    padding = _without(self.padding, axis)

    def over_others(x, y):
      return _kernel_gradient(x, y, taps, self.stride, padding, self.dilation)

    def function(x, y):
      if not axis:
        return over_others(x, y)
      return winograd.kernel_gradient(over_others, x, y, axis, self.padding[axis - 1])

    of_samples = functools.partial(samples.summed, function, self.mesh)
    return bilinear(of_samples, lambda kernel, y: self.of_input(y, kernel), self.output)(x, y)


def _tiled_axis(x, kernel, stride, dilation, least) -> int:
  """The axis along which a convolution of these shapes is made with fewer products, 0 for none."""
  taps = kernel[:-2]
  at = next((i for i, k in enumerate(taps[:-1]) if k > 1), 0)
  fits = taps[at] == winograd.TAPS and dilation[at] == 1 and x[at + 1] >= winograd.TILE
  wide = math.prod(kernel[-2:]) >= least["zy"[at + 3 - len(taps)]]
  many = math.prod(x[:-1]) * math.prod(kernel) >= PRODUCTS
  return at + 1 if fits and wide and many and set(stride) == {1} else 0


def _without(padding, axis: int):
  """No padding along an axis of x."""
  return tuple((0, 0) if i == axis - 1 else pair for i, pair in enumerate(padding))


def _convolve(x, kernel, stride, padding, dilation):
  """`_slices`, with fewer products where that pays."""
  axis = _tiled_axis(x.shape, kernel.shape, stride, dilation, LEAST)
  others = _without(padding, axis)

  def over_others(x, kernel):
    return _slices(x, kernel, stride, others, dilation)

  if not axis:
    return over_others(x, kernel)
  return winograd.fewer_products(over_others, x, kernel, axis, padding[axis - 1])


def _slices(x, kernel, stride, padding, dilation, groups=1):
  """XLA's convolution of images; one of volumes as 2D ones, 4 to 10 times as fast as in 3D.

  The depth is folded into the batch and each depth tap of the kernel is one 2D convolution; with
  few input channels the taps are laid side by side as channels, for one larger product.
  """
  convolve = functools.partial(
    lax.conv_general_dilated,
    window_strides=stride[-2:],
    padding=padding[-2:],
    rhs_dilation=dilation[-2:],
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=groups,
  )
  if x.ndim == 4:
    return convolve(x, kernel)
  batch, taps, channels = x.shape[0], kernel.shape[0], x.shape[-1]
  narrow, span = channels <= FEW and groups == 1, dilation[0] * (taps - 1)
  # without padding, a tap would be applied to slices that no output needs of it
  if stride[0] == 1 and sum(padding[0]) >= span and not narrow:
    return _shifted_sum(convolve, x, kernel, padding[0], dilation[0], groups)
  x = jnp.pad(x, ((0, 0), padding[0], (0, 0), (0, 0), (0, 0)))
  depth = (x.shape[1] - span - 1) // stride[0] + 1
  shifted = []
  for tap in range(taps):
    start = tap * dilation[0]
    part = x[:, start : start + (depth - 1) * stride[0] + 1 : stride[0]]
    shifted.append(part.reshape(batch * depth, *part.shape[2:]))
  if narrow:
    kernel = jnp.moveaxis(kernel, 0, 2).reshape(*kernel.shape[1:3], -1, kernel.shape[-1])
    out = convolve(jnp.concatenate(shifted, -1), kernel)
  else:
    out = sum(convolve(part, kernel[tap]) for tap, part in enumerate(shifted))
  return out.reshape(batch, depth, *out.shape[1:])


def _shifted_sum(convolve, x, kernel, padding, dilation, groups):
  """The same for stride 1 in depth: the taps' outputs are shifted while they are summed.

  Shifted inputs would be written out, and with few features a product with all taps' is faster.
  """
  if x.shape[1] >= DEEP:
    x = jnp.pad(x, ((0, 0), padding, (0, 0), (0, 0), (0, 0)))
    padding = (0, 0)
  (batch, size), (taps, *_, features) = x.shape[:2], kernel.shape
  x = x.reshape(batch * size, *x.shape[2:])
  if features <= MANY and groups == 1:
    wide = convolve(x, jnp.moveaxis(kernel, 0, -2).reshape(*kernel.shape[1:4], -1))
    outs = [wide[..., t * features : (t + 1) * features] for t in range(taps)]
  else:
    outs = [convolve(x, tap) for tap in kernel]
  low, high = padding
  total = None
  for tap, out in enumerate(outs):
    start = tap * dilation - low
    config = [(0, 0, 0)] * 5
    config[1] = (-start, high + low - dilation * (taps - 1) + start, 0)  # a negative number cuts
    out = lax.pad(out.reshape(batch, size, *out.shape[1:]), jnp.zeros((), out.dtype), config)
    total = out if total is None else total + out
  return total


def _depthwise(x, kernel, stride, padding, dilation):
  """A convolution of each channel by itself, as a sum of shifted products.

  Forward and backward together 6 to 10 times as fast as XLA's grouped convolution.
  """
  x = jnp.repeat(x, kernel.shape[-1] // x.shape[-1], -1)
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  extents = [
    (n - d * (k - 1) - 1) // s * s + 1
    for n, k, s, d in zip(x.shape[1:-1], kernel.shape[:-2], stride, dilation, strict=True)
  ]
  out = 0.0
  for tap in np.ndindex(*kernel.shape[:-2]):
    places = zip(tap, dilation, extents, stride, strict=True)
    window = tuple(slice(t * d, t * d + extent, s) for t, d, extent, s in places)
    out += x[(slice(None), *window)] * kernel[tap].reshape((1,) * (x.ndim - 1) + (-1,))
  return out


def _kernel_gradient(x, g, taps, stride, padding, dilation):
  """Gradient of the kernel, (*taps, in, out), for inputs x and output cotangents g."""
  rank = len(taps)
  if stride == (1,) * rank and g.shape[-1] < x.shape[-1]:
    # patches of the narrower array are cheaper: exchanged, the same sum gives the reversed kernel
    low_high = zip(padding, taps, dilation, strict=True)
    mirrored = tuple((d * (k - 1) - low, d * (k - 1) - high) for (low, high), k, d in low_high)
    gradient = _kernel_gradient(g, x, taps, stride, mirrored, dilation)
    return jnp.flip(gradient, range(rank)).swapaxes(-1, -2)
  if rank == 2:
    return _blockwise(x, g, (1, *taps), stride, ((0, 0), *padding), (1, *dilation))[0]
  if stride[0] > 1:
    depth, size = g.shape[1], x.shape[1]
    planes = []
    for tap in range(taps[0]):
      start = tap * dilation[0] - padding[0][0]
      stop = start + (depth - 1) * stride[0] + 1
      config = [(0, 0, 0)] * 5
      config[1] = (-start, stop - size, 0)  # a negative number cuts
      part = lax.pad(x, jnp.zeros((), x.dtype), config)[:, :: stride[0]]
      options = ((1, *stride[1:]), ((0, 0), *padding[1:]), (1, *dilation[1:]))
      planes.append(_kernel_gradient(part, g, (1, *taps[1:]), *options)[0])
    return jnp.stack(planes)
  if taps[0] == 1 and padding[0] == (0, 0):  # slices that do not touch: a stack of images
    x, g = (a.reshape(-1, *a.shape[2:]) for a in (x, g))
  return _blockwise(x, g, taps, stride[1:], padding, dilation)


def _blockwise(x, g, taps, stride, padding, dilation):
  """The same, stride 1 in depth: cotangents of a block times the block's patches of x, summed.

  The cotangents are transposed, not the patches: fewer, and XLA multiplies a matrix by rows faster
  than by columns. A block of slices serves all depth taps, each with its own slices of g. Images
  (b, y, x, channels) are blocks of one slice; their taps, padding and dilation have a depth too,
  `stride` is that in plane. Borders are padded block by block, so that x is not copied for them.
  """
  volumes = x.ndim == 5
  (batch, *_, channels), (rows, columns, features) = x.shape, g.shape[-3:]
  depth = x.shape[1] if volumes else 1
  height = max(1, min(rows, VOXELS // columns))
  planes = max(1, min(depth, VOXELS // (height * columns)))
  bands, stacks = -(-rows // height), -(-depth // planes)
  span = dilation[0] * (taps[0] - 1)
  extent = [
    (n - 1) * s + d * (k - 1) + 1
    for n, s, d, k in zip((height, columns), stride, dilation[1:], taps[1:], strict=True)
  ]
  zero = jnp.zeros((), x.dtype)

  def pad(array, along_z, along_y, along_x=(0, 0)):  # images have no z
    config = [(0, 0), *((along_z,) * volumes), along_y, along_x, (0, 0)]
    return lax.pad(array, zero, [(*pair, 0) for pair in config])

  (above, _), (left, _) = padding[1:]
  # negative: what lies beyond the kernel's reach is cut
  x = pad(x, (0, stacks * planes - depth), (min(0, above), 0), (min(0, left), 0))
  above, left, tall, wide = max(0, above), max(0, left), x.shape[-3], x.shape[-2]
  low = span - padding[0][0]
  g = pad(g, (low, stacks * planes + span - low - g.shape[-4]), (0, bands * height - rows))

  # `there` rows are read, from the nearest start that exists; `over` spare rows before the buffer's
  # first let the last blocks place what they read without being clamped
  there = min(extent[0], tall)
  over = max(0, (bands - 1) * height * stride[0] - above - (tall - there))
  width = max(extent[1], left + wide)

  def add(carry, block):
    total, patches = carry
    sample, inside = block // (stacks * bands), block % (stacks * bands)
    plane, row = (inside // bands) * planes, (inside % bands) * height
    first = row * stride[0] - above
    found = jnp.clip(first, 0, tall - there)
    part = _block(x, sample, plane, found, planes, there)
    patch = jnp.zeros((planes, over + extent[0] + above, width, channels), x.dtype)
    patch = lax.dynamic_update_slice(patch, part, (0, over + found - first, left, 0))
    patch = patch[:, over : over + extent[0]]
    for i in range(taps[1]):
      for j in range(taps[2]):
        along_y, along_x = (
          slice(f, f + (n - 1) * s + 1, s)
          for f, n, s in zip(
            (i * dilation[1], j * dilation[2]), (height, columns), stride, strict=True
          )
        )
        place = (0, 0, 0, (i * taps[2] + j) * channels)
        patches = lax.dynamic_update_slice(patches, patch[:, along_y, along_x], place)
    parts = []
    for tap in range(taps[0]):
      start = plane + span - tap * dilation[0]
      part = _block(g, sample, start, row, planes, height)
      parts.append(part.reshape(-1, features).T)
    # the barrier keeps XLA from folding the transposition into the product
    left_side = lax.optimization_barrier(jnp.concatenate(parts))
    return (total + left_side @ patches.reshape(left_side.shape[1], -1), patches), None

  total = jnp.zeros((taps[0] * features, taps[1] * taps[2] * channels), x.dtype)
  # written in place, tap by tap: XLA joins arrays element by element
  patches = jnp.zeros((planes, height, columns, total.shape[1]), x.dtype)
  (total, _), _ = lax.scan(add, (total, patches), jnp.arange(batch * stacks * bands))
  return total.reshape(taps[0], features, -1).swapaxes(1, 2).reshape(*taps, channels, features)


def _block(array, sample, plane, row, planes, rows):
  """Neighbouring slices and rows of one sample, (planes, rows, x, channels)."""
  volume = array.ndim == 5
  sizes = (1, *((planes,) * volume), rows, *array.shape[-2:])
  first = (sample, *((plane,) * volume), row, 0, 0)
  return lax.dynamic_slice(array, first, sizes).reshape(planes, *sizes[-3:])
