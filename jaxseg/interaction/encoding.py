"""How prompts are shown to a network, `config.method.prompts`: fields of a batch, then channels.

The contract between who trains, who answers and who asks:

- A method that learns from prompts has the option `prompts`, see `encoding_of`. `show` makes
  the fields of one sample from its `Prompts`, in training and in a session alike, and `joined`
  appends them to the image: the network's input has `channels` more. The order is "previous",
  boxes, points, strokes; within each the classes, the background first.
- `method.apply(state, batch)` is given these fields once there are prompts, all of them; without
  them, as by `jaxseg predict`, it segments automatically: `joined` puts in what is seen where there
  is no prompt. A method with another network for the automatic start looks whether they are there.
- Classes are those of the labels, and of class 0 are "negative" clicks. Runs whose labels are
  overlapping regions have none, and no prompts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build
from jaxseg.batch import Array, Batch, kind
from jaxseg.interaction.prompts import POINTS, Prompts, fields

PREVIOUS = ("mask", "probabilities", "logits")
BOXES = ("all", "foreground")
STROKES = ("apart", "points")
# kinds of prompts, in the words of `pack`
KINDS = ("point", "box", "stroke")
# maps that are 0 far from all marks: they may fade, and strokes may lie among them
_FADE = ("disk", "gaussian", "ball")


class Encoding(NamedTuple):
  """What of a user's prompts a network sees; None is not shown.

  Attributes:
    points: a name of `interaction.POINTS` and its options.
    boxes: "all" classes have a channel of boxes, or those of the "foreground".
    strokes: "apart" in channels of their own, or among those of the "points".
    thickness: of strokes, in voxels.
    previous: the segmentation before, without the background: its "mask", "probabilities" or
      "logits", which are those of each class against all others.
    decay: factor of all marks that are older by one turn, see `interaction.faded`.
  """

  points: Mapping[str, Any] | None = None
  boxes: str | None = None
  strokes: str | None = None
  thickness: float = 2.0
  previous: str | None = None
  decay: float = 1.0

  @property
  def kinds(self) -> tuple[str, ...]:
    """The kinds of prompts that are shown, of `KINDS`."""
    seen = (self.points, self.boxes, self.strokes)
    return tuple(name for name, of in zip(KINDS, seen, strict=True) if of is not None)

  @property
  def radius(self) -> float:
    """How far from a point it is seen, in voxels; RITM's 5 where the encoding does not tell."""
    spec = dict(self.points or {})
    known = build.options_of(POINTS[spec["name"]].encode) if spec else {}
    for option, factor in (("radius", 1.0), ("sigma", 2.5)):
      if option in known:
        value = spec.get(option, known[option].default)
        return factor * float(np.min(value))
    return 5.0

  @property
  def fields(self) -> tuple[str, ...]:
    """The fields of a batch that show them, in the order of their channels."""
    point = POINTS[self.points["name"]].field if self.points else None
    apart = "strokes" if self.strokes == "apart" else None
    each = (
      "previous" if self.previous else None,
      "prompt_box" if self.boxes else None,
      point,
      apart,
    )
    return tuple(field for field in each if field)


def encoding_of(spec: Mapping[str, Any], where: str = "config.method.prompts") -> Encoding:
  """A config's `prompts`, such as dict(points=dict(name="disk", radius=5.0), previous="mask").

  Raises ValueError in words for what is unknown or has no meaning together.
  """
  spec = build.plain(spec)
  if not isinstance(spec, Mapping):
    raise ValueError(f"{where}: {spec!r}; expected a dict, as dict(points='disk').")
  field = where.removeprefix("config.")
  build.check_options("prompts", spec, Encoding._fields, field)
  if isinstance(spec.get("points"), str):
    spec["points"] = {"name": spec["points"]}
  made = Encoding(**spec)
  if made.points is not None:
    how = build.named(POINTS, made.points, f"{field}.points").encode
    options = [name for name in made.points if name != "name"]
    build.check_options(made.points["name"], options, build.options_of(how), f"{field}.points")
  for option, choices in (("boxes", BOXES), ("strokes", STROKES), ("previous", PREVIOUS)):
    value = getattr(made, option)
    if value is not None and value not in choices:
      raise ValueError(
        f"{where}.{option}: {value!r}; choices: {', '.join(map(repr, choices))}, None."
      )
  if not made.kinds:
    raise ValueError(f"{where}: shows no prompts; expected points, boxes or strokes.")
  if not 0 < made.decay <= 1:
    raise ValueError(f"{where}.decay: {made.decay}; expected more than 0, at most 1.")
  if not made.thickness >= 0:
    raise ValueError(f"{where}.thickness: {made.thickness}; expected 0 or more.")
  name = None if made.points is None else made.points["name"]
  if made.strokes == "points" and name not in (*_FADE, "geodesic"):
    raise ValueError(
      f"{where}.strokes: 'points' puts them among points, but these are shown as {name!r}; "
      f"expected points of {', '.join((*_FADE, 'geodesic'))}, or strokes='apart'."
    )
  if name == "geodesic" and made.strokes == "apart":
    raise ValueError(
      f"{where}.strokes: 'apart', but geodesic distances begin at points and strokes alike; "
      "expected 'points', or None."
    )
  if made.decay < 1 and name not in (None, *_FADE):
    raise ValueError(
      f"{where}.decay: {made.decay}, but points are shown as {name!r}, which is not 0 far from "
      f"them; expected 1, or points of {', '.join(_FADE)}."
    )
  return made


def channels(of: Encoding, classes: int) -> int:
  """By how many channels `joined` makes an image wider."""
  return sum(classes - _first(of, field) for field in of.fields)


def _first(of: Encoding, field: str) -> int:
  """The first class of a field that has a channel."""
  return int(field == "previous" or (field == "prompt_box" and of.boxes == "foreground"))


def show(
  of: Encoding,
  prompts: Prompts,
  space: Sequence[int],
  *,
  classes: int,
  previous: Array | None = None,
  image: Array | None = None,
  ages: tuple[Array, Array, Array] | None = None,
  drawn: Mapping[str, Array] | None = None,
) -> Batch:
  """The fields that show a network the prompts of one sample, under jit and vmap.

  Args:
    of: what is shown.
    prompts: on the sample's grid; lengths are voxels.
    space: the sample's size.
    classes: of the labels, the background among them.
    previous: (*space, classes) logits of the segmentation that the user goes on from; None at the
      beginning, which is 0.
    image: (*space, channels), for geodesic maps.
    ages: of points, boxes and strokes how many turns came after them, for `decay`.
    drawn: "strokes" or "prompt_box" -> (*space, classes), 1 where the user painted or encircled a
      class: seen beside those of the prompts.

  Returns:
    field -> (*space, classes) float32, of `of.fields`.
  """
  strengths = None
  if ages is not None and of.decay < 1:
    strengths = tuple(of.decay ** jnp.asarray(age, jnp.float32) for age in ages)
  made = fields(
    prompts,
    space,
    classes=classes,
    points=of.points or "disk",
    thickness=of.thickness,
    image=image,
    strengths=strengths,
    drawn=(drawn or {}).get("strokes"),
  )
  if "prompt_box" in (drawn or {}):
    made["prompt_box"] = jnp.maximum(made["prompt_box"], drawn["prompt_box"])
  name = (of.points or {}).get("name")
  if of.strokes == "points" and name in _FADE:
    field = POINTS[name].field
    made[field] = jnp.maximum(made[field], made["strokes"])
  if of.previous:
    nothing = jnp.zeros((*space, classes), jnp.float32)
    made["previous"] = nothing if previous is None else seen_before(of, previous)
  return {field: made[field] for field in of.fields}


def seen_before(of: Encoding, logits: Array) -> jax.Array:
  """(..., classes) logits -> what a network sees of them as the segmentation before."""
  logits = jnp.asarray(logits, jnp.float32)
  if of.previous == "mask":
    return jax.nn.one_hot(logits.argmax(-1), logits.shape[-1], dtype=jnp.float32)
  if of.previous == "probabilities":
    return jax.nn.softmax(logits, -1)
  # against all others together: of two classes their difference
  each = range(logits.shape[-1])
  others = [jnp.delete(logits, k, -1, assume_unique_indices=True) for k in each]
  against = [jax.nn.logsumexp(other, -1) for other in others]
  return logits - jnp.stack(against, -1)


def joined(of: Encoding, batch: Batch, classes: int) -> Array:
  """The image of a batch with the channels of its prompts; `batch` may have none of the fields.

  (b, *space, channels) -> (b, *space, channels + `channels(of, classes)`). Raises ValueError where
  it has some of the fields.
  """
  image = batch["image"]
  there = [field for field in of.fields if field in batch]
  if there and len(there) < len(of.fields):
    missing = next(field for field in of.fields if field not in batch)
    raise ValueError(
      f"prompts: a batch with '{there[0]}' has no '{missing}'; expected all of "
      f"{', '.join(of.fields)}, or none."
    )
  parts = [image]
  for field in of.fields:
    first = _first(of, field)
    if there:
      parts.append(batch[field][..., first:].astype(image.dtype))
    else:
      # outside of a case there are no marks, either
      outside = kind(field).pad
      empty = (*image.shape[:-1], classes - first)
      parts.append(jnp.full(empty, 1.0 if outside is None else outside, image.dtype))
  return jnp.concatenate(parts, -1)
