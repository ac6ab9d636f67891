"""What jax2onnx lacks for our networks; imports jax2onnx, so only what needs it imports this."""

import contextlib
import logging
from collections.abc import Iterator

import numpy as np
from jax2onnx.plugins import plugin_system
from jax2onnx.plugins._ir_shapes import _ensure_value_metadata, _stamp_type_and_shape
from jax2onnx.plugins.plugin_system import PLUGIN_REGISTRY, PrimitiveLeafPlugin

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


class _InOrder(Lowering):
  """Helpers: arrays with their axes in ONNX's order (batch, channels, *space), and back."""

  def _moved(self, ctx, var, order):
    value = ctx.get_value_for_var(var, name_hint=ctx.fresh_name("moved_in"))
    moved = ctx.builder.Transpose(value, _outputs=[ctx.fresh_name("moved")], perm=list(order))
    return self._typed(ctx, moved, tuple(var.aval.shape[axis] for axis in order), var)

  def _back(self, ctx, value, order, eqn):
    (out,) = eqn.outvars
    moved = tuple(out.aval.shape[axis] for axis in order)
    value = self._typed(ctx, value, moved, eqn.invars[0])
    perm = np.argsort(order).tolist()
    back = ctx.builder.Transpose(value, _outputs=[ctx.fresh_name("moved_out")], perm=perm)
    ctx.bind_value_for_var(out, self._typed(ctx, back, tuple(out.aval.shape), eqn.invars[0]))

  def _typed(self, ctx, value, shape, var):
    value.type = ctx.get_value_for_var(var, name_hint=ctx.fresh_name("moved_in")).type
    _stamp_type_and_shape(value, shape)
    _ensure_value_metadata(ctx, value)
    return value


class Convolution(_InOrder):
  """`lax.conv_general_dilated` of volumes, whose layouts jax2onnx 0.17 doesn't know, too."""

  def lower(self, ctx, eqn):
    (x, kernel), options = eqn.invars[:2], eqn.params
    plain = set(options["lhs_dilation"]) == {1} and options["batch_group_count"] == 1
    if x.aval.ndim != 5 or not plain:
      return super().lower(ctx, eqn)
    of_input, of_kernel, of_output = options["dimension_numbers"]
    lows, highs = zip(*options["padding"], strict=True)
    result = ctx.builder.Conv(
      self._moved(ctx, x, of_input),
      self._moved(ctx, kernel, of_kernel),
      _outputs=[ctx.fresh_name("conv")],
      strides=list(options["window_strides"]),
      dilations=list(options["rhs_dilation"]),
      group=int(options["feature_group_count"]),
      pads=[*lows, *highs],
    )
    return self._back(ctx, result, of_output, eqn)


class MaxPool(_InOrder):
  """`lax.reduce_window_max` over space alone: jax2onnx pools over batch and channels, too.

  onnxruntime pools over three axes at most.
  """

  def lower(self, ctx, eqn):
    (x,), options = eqn.invars, eqn.params
    rank = x.aval.ndim
    window, pads = tuple(options["window_dimensions"]), tuple(options["padding"])
    plain = set(options["base_dilation"]) == {1} and rank in (4, 5)
    ends = (0, rank - 1)
    if not plain or any(window[i] != 1 or tuple(pads[i]) != (0, 0) for i in ends):
      return super().lower(ctx, eqn)
    lows, highs = zip(*pads[1:-1], strict=True)
    order = (0, rank - 1, *range(1, rank - 1))
    result = ctx.builder.MaxPool(
      self._moved(ctx, x, order),
      _outputs=[ctx.fresh_name("max_pool")],
      kernel_shape=list(window[1:-1]),
      strides=list(options["window_strides"][1:-1]),
      dilations=list(options["window_dilation"][1:-1]),
      pads=[*lows, *highs],
    )
    return self._back(ctx, result, order, eqn)


class Pad(_InOrder):
  """`lax.pad` of arrays with a symbolic batch, of whose shape jax2onnx makes numbers."""

  def lower(self, ctx, eqn):
    (x, value), (out,) = eqn.invars, eqn.outvars
    lows, highs, between = zip(*eqn.params["padding_config"], strict=True)
    if any(between):
      return super().lower(ctx, eqn)
    pads = ctx.builder.add_initializer_from_array(
      name=ctx.fresh_name("pads"), array=np.array([*lows, *highs], np.int64)
    )
    result = ctx.builder.Pad(
      ctx.get_value_for_var(x, name_hint=ctx.fresh_name("pad_in")),
      pads,
      ctx.get_value_for_var(value, name_hint=ctx.fresh_name("pad_value")),
      _outputs=[ctx.fresh_name("pad")],
      mode="constant",
    )
    return ctx.bind_value_for_var(out, self._typed(ctx, result, tuple(out.aval.shape), x))


_OURS = {"conv_general_dilated": Convolution, "reduce_window_max": MaxPool, "pad": Pad}


@contextlib.contextmanager
def plugins() -> Iterator[None]:
  """Conversions inside see functions as lax has them, and know volumes and their pooling."""
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
    PLUGIN_REGISTRY.update(lowerings | {name: of(before[name]) for name, of in _OURS.items()})
    yield
  finally:
    log.setLevel(level)
    PLUGIN_REGISTRY.clear()
    PLUGIN_REGISTRY.update(before)
