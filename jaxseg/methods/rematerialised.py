"""Activations that the backward pass computes again instead of keeping, around any method."""

from collections.abc import Callable

import jax
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from jaxseg.method import Method
from jaxseg.networks.blocks.options import choice

# what convolutions and matrix products put out
PRODUCT = "product"
NONE, PRODUCTS, BLOCKS, OFFLOAD = "none", "products", "blocks", "offload"
POLICIES = (NONE, PRODUCTS, BLOCKS, OFFLOAD)


def rematerialised(method: Method, *, policy: str) -> Method:
  """A training step that keeps less of the forward pass for the backward pass (1604.06174).

  The networks inside are left as they are: the calls of their modules are intercepted. Gradients
  are the same but for rounding; parameters, their paths and `apply` are the same.

  Args:
    method: what is trained how.
    policy: "blocks" keeps what goes into each block of a network (its stages, residual or
      transformer layers, steps in time), and computes a block again as a whole, about one forward
      pass more;
      "products" keeps also what convolutions and matrix products put out, so that only norms,
      activations, concatenations and resampling are computed again, which costs little; "offload"
      is "products" with these moved to the host's memory until they are needed; "none" keeps
      everything.

  Raises ValueError for an unknown policy.
  """
  choice(policy, POLICIES, "rematerialised: policy")
  if policy == NONE:
    return method

  def train_step(state, batch, key):
    with nn.intercept_methods(_interceptor(policy)):
      return method.train_step(state, batch, key)

  return method._replace(train_step=train_step)


def _interceptor(policy: str) -> Callable:
  """For `nn.intercept_methods`: wraps each block, so that its own cotangent comes first.

  In a network wrapped as a whole XLA computes everything again at once, and saves nothing.
  """
  kept = {
    PRODUCTS: jax.checkpoint_policies.save_only_these_names(PRODUCT),
    BLOCKS: None,
    OFFLOAD: jax.checkpoint_policies.save_and_offload_only_these_names(
      names_which_can_be_saved=[],
      names_which_can_be_offloaded=[PRODUCT],
      offload_src="device",
      offload_dst="pinned_host",
    ),
  }[policy]
  inside = False

  def intercept(call, args, kwargs, context):
    nonlocal inside
    module = context.module
    if context.method_name != "__call__":
      return call(*args, **kwargs)
    if inside or not _is_block(module):
      out = call(*args, **kwargs)
      # a layer that multiplies by a kernel of its own
      return checkpoint_name(out, PRODUCT) if module.has_variable("params", "kernel") else out

    # sizes and switches shape the program, only arrays are its arguments
    arrays = {i: x for i, x in enumerate(args) if isinstance(x, jax.Array)}

    def again(module, arrays):
      every = (arrays.get(i, x) for i, x in enumerate(args))
      return type(module).__call__(module, *every, **kwargs)

    inside = True
    try:
      return nn.remat(again, policy=kept)(module, arrays)
    finally:
      inside = False

  return intercept


def _is_block(module: nn.Module) -> bool:
  """Whether a module is a part of a network, not a network or an encoder itself.

  Nor one that says `made_of_blocks`: all steps in time would be in memory at once.
  """
  network = hasattr(module, "total_stride") or callable(getattr(module, "strides", None))
  return bool(module.path) and not network and not getattr(module, "made_of_blocks", False)
