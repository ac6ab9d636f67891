"""Values that another framework's script can repeat: sines over the index, no random numbers."""

import jax
import jax.numpy as jnp
import numpy as np


def variables(net, *shape):
  """All variables of a network for an input of that shape; array k in the order of paths is a wave.

  Wave k is sin(0.7 i + 1.3 k). Kernels are 2 / sqrt(fan in) times it, scales and variances 1 + 0.2
  times it, everything else 0.3 + 0.2 times it.
  """
  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x)
  leaves = jax.tree_util.tree_leaves_with_path(shapes)
  paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
  order = {path: k for k, path in enumerate(sorted(paths))}

  def wave(path, leaf):
    k = order[jax.tree_util.keystr(path, simple=True, separator="/")]
    values = np.sin(0.7 * np.arange(leaf.size) + 1.3 * k).reshape(leaf.shape)
    if path[-1].key == "kernel":
      values *= 2 / np.sqrt(leaf.size // leaf.shape[-1])
    else:
      values = 0.2 * values + (1 if path[-1].key in ("scale", "var") else 0.3)
    return values.astype(np.float32)

  return jax.tree_util.tree_map_with_path(wave, shapes)


def inputs(*shape):
  """sin(0.37 i) over the index i of an array of that shape."""
  return np.sin(0.37 * np.arange(np.prod(shape))).reshape(shape).astype(np.float32)
