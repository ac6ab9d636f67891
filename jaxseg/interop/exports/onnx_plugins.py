"""What jax2onnx lacks for our networks; imports jax2onnx, so only what needs it imports this."""

import contextlib
import logging
from collections.abc import Iterator

import numpy as np
from jax2onnx.plugins import plugin_system
from jax2onnx.plugins._ir_shapes import _ensure_value_metadata, _stamp_type_and_shape
from jax2onnx.plugins.plugin_system import PLUGIN_REGISTRY, PrimitiveLeafPlugin

_CONVOLUTION = "conv_general_dilated"
_CORE = "primitives.core"


class Lowering(PrimitiveLeafPlugin):
  """What a plugin of jax2onnx makes of a primitive, without what it puts in the place of functions.

  Those take no symbolic batch everywhere (as that of `jnp.full`); without them functions are traced
  to the primitives of lax, where it does.
  """

  def __init__(self, own: PrimitiveLeafPlugin):
    self._own = own
    self.primitive, self.metadata = own.primitive, own.metadata

  def lower(self, ctx, eqn):
    return self._own.lower(ctx, eqn)


class Convolution(Lowering):
  """`lax.conv_general_dilated` of volumes, whose layouts jax2onnx 0.17 doesn't know, too."""

  def lower(self, ctx, eqn):
    (x, kernel), (out,) = eqn.invars[:2], eqn.outvars
    options = eqn.params
    plain = set(options["lhs_dilation"]) == {1} and options["batch_group_count"] == 1
    if x.aval.ndim != 5 or not plain:
      return super().lower(ctx, eqn)
    of_input, of_kernel, of_output = options["dimension_numbers"]
    lows, highs = zip(*options["padding"], strict=True)
    features = tuple(out.aval.shape[axis] for axis in of_output)
    result = ctx.builder.Conv(
      self._moved(ctx, x, of_input),
      self._moved(ctx, kernel, of_kernel),
      _outputs=[ctx.fresh_name("conv")],
      strides=list(options["window_strides"]),
      dilations=list(options["rhs_dilation"]),
      group=int(options["feature_group_count"]),
      pads=[*lows, *highs],
    )
    back = ctx.builder.Transpose(
      self._typed(ctx, result, features, x),
      _outputs=[ctx.fresh_name("conv_out")],
      perm=np.argsort(of_output).tolist(),
    )
    ctx.bind_value_for_var(out, self._typed(ctx, back, tuple(out.aval.shape), x))
    return None

  def _moved(self, ctx, var, order):
    """An array with its axes in ONNX's order."""
    value = ctx.get_value_for_var(var, name_hint=ctx.fresh_name("conv_in"))
    moved = ctx.builder.Transpose(value, _outputs=[ctx.fresh_name("moved")], perm=list(order))
    return self._typed(ctx, moved, tuple(var.aval.shape[axis] for axis in order), var)

  def _typed(self, ctx, value, shape, var):
    value.type = ctx.get_value_for_var(var, name_hint=ctx.fresh_name("conv_in")).type
    _stamp_type_and_shape(value, shape)
    _ensure_value_metadata(ctx, value)
    return value


@contextlib.contextmanager
def plugins() -> Iterator[None]:
  """Conversions inside see functions as lax has them, and know volumes."""
  plugin_system.import_all_plugins()
  before, log = dict(PLUGIN_REGISTRY), logging.getLogger("onnx_ir")
  lowerings = {
    name: plugin if plugin.metadata.get("context") == _CORE else Lowering(plugin)
    for name, plugin in before.items()
    if isinstance(plugin, PrimitiveLeafPlugin)
  }
  level = log.level
  try:
    # it warns of every value whose type it leaves to be inferred
    log.setLevel(logging.ERROR)
    PLUGIN_REGISTRY.clear()
    PLUGIN_REGISTRY.update(lowerings | {_CONVOLUTION: Convolution(before[_CONVOLUTION])})
    yield
  finally:
    log.setLevel(level)
    PLUGIN_REGISTRY.clear()
    PLUGIN_REGISTRY.update(before)
