"""A method applied to a scan: window by window, run by run, layer by layer."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import explain
from jaxseg.build import suggestion
from jaxseg.explain import layers, quality, randomisation, windows
from jaxseg.explain.attention import maps as attention_maps
from jaxseg.explain.scan import Scan, Target, on_scan
from jaxseg.explain.target import over_channels
from jaxseg.networks.blocks.options import choice
from jaxseg.runs.load import batch_of

MARGIN, LOGIT = SCORES = ("margin", "logit")
# options of methods that are not a user's
_GIVEN = ("layer", "stride", "calibration")
# one number, or one for each axis
_PER_AXIS = ("box", "step")
# the smallest values that mean something, of the numbers among the options
_LEAST = {
  "samples": 1,
  "steps": 1,
  "most": 1,
  "voxels": 1,
  "box": 0,
  "step": 0,
  "noise": 0,
  "tolerance": 0,
  "seed": 0,
}


class Map(NamedTuple):
  """What a method says about a scan.

  Attributes:
    name: of the method, and of the layer.
    values: (*space) float32 on the network's grid.
    signed: values below 0 speak against the target.
    numbers: name -> value, for a reader.
    notes: sentences for a reader.
  """

  name: str
  values: np.ndarray
  signed: bool
  numbers: dict[str, float]
  notes: tuple[str, ...] = ()


class View(NamedTuple):
  """One run and one window of a scan: what a method is called with."""

  params: Any
  image: jax.Array
  target: jax.Array
  frame: windows.Frame
  window: windows.Window


def method(name: str) -> explain.Method:
  """The method of that name; raises ValueError with the choices."""
  if name not in explain.METHODS:
    raise ValueError(
      f"--method {name}: no such method{suggestion(name, explain.METHODS)}; choices: "
      f"{', '.join(explain.METHODS)}."
    )
  return explain.METHODS[name]


def check(name: str, options: Mapping[str, Any]) -> None:
  """Raises ValueError for an option that the method does not have, or a value of another type."""
  known = inspect.signature(method(name).function).parameters
  own = {
    option: of
    for option, of in known.items()
    if of.kind is of.KEYWORD_ONLY and option not in _GIVEN
  }
  for option, value in options.items():
    if option not in own:
      listed = ", ".join(own) or "none"
      raise ValueError(
        f"--set {option}: '{name}' has no such option{suggestion(option, own)}; options: {listed}."
      )
    usual = own[option].default
    values = value if isinstance(value, tuple) and option in _PER_AXIS else (value,)
    if isinstance(usual, str):
      if not isinstance(value, str):
        raise ValueError(f"--set {option}={value}: expected a value like {usual!r}.")
    elif not all(_number(of, whole=isinstance(usual, int), least=_LEAST[option]) for of in values):
      kind = "a whole number" if isinstance(usual, int) else "a number"
      raise ValueError(
        f"--set {option}={value}: expected {kind} from {_LEAST[option]}, as {usual!r}."
      )


def _number(value: Any, *, whole: bool, least: int) -> bool:
  kinds = int if whole else (int, float)
  return isinstance(value, kinds) and not isinstance(value, bool) and least <= value < 2**31


def score_weights(scan: Scan, channel: int, score: str) -> np.ndarray:
  """(k,) weights of the scores of a voxel.

  "logit" is the class's own. "margin" takes the mean of the others' from it: of classes that
  exclude each other only differences mean something, and a network may well say one class by
  lowering the other. Regions are judged each on its own: both are the same for them.
  """
  choice(score, SCORES, "--score")
  classes = scan.logits.shape[-1]
  weights = (np.arange(classes) == channel).astype(np.float32)
  if score == MARGIN and scan.subject.labels.regions is None and classes > 1:
    weights -= (1 - weights) / (classes - 1)
  return weights


def views(scan: Scan, target: Target, most: int, *, score: str = MARGIN) -> tuple[list[View], int]:
  """The runs' windows that hold a target, and how many are left out; see `score_weights`."""
  found, left = [], 0
  weights = score_weights(scan, target.channel, score)
  for state, case in scan.members:
    frame = windows.frame(scan.subject.opened.predict, case)
    held, left = windows.select(frame, target.inside, most)
    for window in held:
      fields = windows.fields_of(frame, window)
      image = jnp.asarray(fields.pop("image"))
      aim = windows.target_of(frame, window, weights)
      found.append(View((state, fields), image, aim, frame, window))
  return found, left


def layers_of(scan: Scan, view: View) -> dict[str, layers.Layer]:
  """The layers of the runs' network, by path."""
  return layers.layers(scan.subject.apply, view.params, view.image)


def select_layers(scan: Scan, view: View, name: str, asked: Sequence[str]) -> tuple[str, ...]:
  """The layers that a method is to look at: those asked for, checked, or its own choice."""
  kind, rank = method(name).kind, view.image.ndim - 2
  classes = view.target.shape[-1]
  if kind == explain.ATTENTION:
    known = attention_maps(scan.subject.apply, view.params, view.image)
    if not known:
      raise ValueError(
        "attention: the network has no attention maps (of gates or self-attention); use grad_cam."
      )
    for layer in asked:
      if layer not in known:
        raise ValueError(
          f"--layer {layer}: is no attention map{suggestion(layer, known)}; choices: "
          f"{', '.join(known)}."
        )
    return tuple(asked) or tuple(known)
  if kind not in (explain.LAYER, explain.HEAD):
    return ("",)
  known = layers_of(scan, view)
  for layer in asked:
    layers.check(layer, known, rank, classes)
  if kind == explain.HEAD:
    return tuple(layers.head(known, classes, layer) for layer in asked or ("",))
  return tuple(asked) or layers.stages(known, rank, classes)


def explanation(
  scan: Scan, found: Sequence[View], name: str, layer: str, options: Mapping[str, Any]
) -> Callable[[View], tuple[np.ndarray, dict[str, float]]]:
  """(view) -> ((*window) map, numbers) of a method."""
  of, more = method(name), dict(options)
  if layer:
    more["layer"] = layer
  if layer and of.kind in (explain.LAYER, explain.HEAD):
    more["stride"] = tuple(found[0].frame.stride)

  def explain_view(view: View):
    made = of.function(scan.subject.apply, view.params, view.image, view.target, **more)
    values = over_channels(np.asarray(made.values, np.float32), view.image.ndim - 2, of.channels)[0]
    return values, {number: float(value) for number, value in made.numbers.items()}

  return explain_view


def map_of(
  scan: Scan,
  found: Sequence[View],
  name: str,
  layer: str,
  options: Mapping[str, Any],
) -> Map:
  """A method's map of a scan: the sum over windows, the mean over runs.

  A window's map is of that window's part of the target, so that their sum is of the whole.
  """
  act, runs = explanation(scan, found, name, layer, options), len(scan.members)
  total, numbers = windows.empty(found[0].frame), {}
  for view in found:
    values, told = act(view)
    windows.add(total, view.frame, view.window, values / runs)
    for number, value in told.items():
      numbers.setdefault(number, []).append(value)
  # of errors the largest counts
  summed = {
    number: max(of) if "error" in number else float(np.mean(of)) for number, of in numbers.items()
  }
  title = f"{name}_{layer.replace('/', '.')}" if layer else name
  return Map(title, windows.whole(found[0].frame, total), method(name).signed, summed)


def curves(scan: Scan, found: Sequence[View], made: Map) -> dict[str, quality.Curve]:
  """Deletion and insertion in the window that holds most of the target, of the first run."""
  view = found[0]
  total = windows.empty(view.frame)
  middle = tuple(
    slice(b + m, b + m + n)
    for b, m, n in zip(view.frame.before, view.frame.margin, view.frame.space, strict=True)
  )
  total[middle] = made.values
  spans = (slice(c, c + p) for c, p in zip(view.window.corner, view.frame.patch, strict=True))
  values = total[tuple(spans)]
  values = values if view.frame.axis is None else np.squeeze(values, view.frame.axis)
  regions = scan.subject.labels.regions is not None
  arguments = (scan.subject.apply, view.params, view.image, view.target, values)
  return {
    "deletion": quality.deletion(*arguments, regions=regions),
    "insertion": quality.insertion(*arguments, regions=regions),
  }


def survival(
  scan: Scan, found: Sequence[View], name: str, layer: str, options: Mapping[str, Any], seed: int
) -> randomisation.Check:
  """The randomisation check in the window that holds most of the target, of the first run."""
  view, act = found[0], explanation(scan, found, name, layer, options)
  state, further = view.params
  known = layers_of(scan, view)
  order = [path for path, of in known.items() if "/" not in path and of.weights]
  steps = randomisation.cascade(state, fresh(scan, view, seed), order[::-1])
  trained, _ = act(view)
  return randomisation.check(
    lambda random: act(view._replace(params=(random, further)))[0], steps, trained
  )


def fresh(scan: Scan, view: View, seed: int) -> Any:
  """The run's state as training begins with it, from another seed."""
  (state, further), opened = view.params, scan.subject.opened
  # of other streams and of labels a method asks the shapes alone
  batch = jax.tree.map(lambda of: jnp.zeros(of.shape, of.dtype), batch_of(opened.told[0]))
  batch |= {**further, "image": view.image}
  made = jax.jit(opened.scheme.init)(jax.random.key(seed), batch)
  held = {
    name: of.replace(opt_state=state.learners[name].opt_state) for name, of in made.learners.items()
  }
  return state.replace(learners=held)


def point(scan: Scan, made: Map, label: np.ndarray) -> quality.Pointing:
  """The pointing game on the scan's own grid; `label` is (*space) bool there."""
  return quality.pointing(on_scan(scan, made.values), label)
