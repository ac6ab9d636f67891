"""A user's prompts: checked and packed on the host, and the fields of a batch that they become."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg import build
from jaxseg.batch import Array, Batch
from jaxseg.interaction import maps
from jaxseg.interaction.distances import (
  distance_to_points,
  distance_to_strokes,
  geodesic_distance,
)

# what stands in the place of a class where there is no prompt
NONE = -1


class Prompts(NamedTuple):
  """All prompts of one image, in arrays whose sizes are fixed, for jit; `NONE` is no class.

  Attributes:
    points: (n, rank) float32, voxels in the image's order of axes.
    point_class: (n,) int32, 0 is the background: a "negative" click.
    boxes: (m, 2, rank) int32, the first voxel, and the one after the last.
    box_class: (m,) int32.
    strokes: (s, 2, rank) float32, the ends of straight pieces.
    stroke_class: (s,) int32.
  """

  points: Array
  point_class: Array
  boxes: Array
  box_class: Array
  strokes: Array
  stroke_class: Array


def pack(
  prompts: Sequence[Mapping[str, Any]],
  space: Sequence[int],
  *,
  classes: int,
  points: int = 24,
  boxes: int = 4,
  strokes: int = 256,
  where: str = "prompts",
) -> Prompts:
  """A list of prompts as people write them -> Prompts.

  Args:
    prompts: each `{"class": 1, "point": (y, x)}`, `{"class": 1, "box": ((y, x), (y, x))}`, first
      and last voxel, or `{"class": 0, "stroke": ((y, x), (y, x), ...)}`, a chain of positions.
    space: the image's size.
    classes: how many there are, background included.
    points, boxes, strokes: room for so many; a stroke of k positions takes k - 1, at least one.
    where: for messages.

  Raises ValueError for what is none of these, for a position outside of the image, an unknown
  class, two classes of one voxel's points, and for more than there is room for.
  """
  space, rank = tuple(space), len(space)
  made = {"point": [], "box": [], "stroke": []}
  seen: dict[tuple[int, ...], tuple[int, int]] = {}
  for number, prompt in enumerate(prompts):
    at = f"{where}[{number}]"
    kind = _kind_of(prompt, at)
    index = _class_of(prompt["class"], classes, at)
    places = positions(prompt[kind], kind, space, at)
    if kind == "point":
      voxel = tuple(np.floor(places[0] + 0.5).astype(int).tolist())
      before, other = seen.setdefault(voxel, (number, index))
      if other != index:
        raise ValueError(
          f"{at}: class {index} at voxel {voxel}, of which {where}[{before}] says class {other}; "
          "leave one of them out."
        )
      made[kind].append((places[0], index))
    elif kind == "box":
      low, high = np.floor(places + 0.5).astype(int)
      if (low > high).any():
        raise ValueError(
          f"{at}.box: first voxel {tuple(low.tolist())}, last {tuple(high.tolist())}; expected no "
          "axis along which the last comes before the first."
        )
      made[kind].append((np.stack([low, high + 1]), index))
    else:
      made[kind] += [(piece, index) for piece in pieces_of(places)]
  return arrays(made, rank, {"point": points, "box": boxes, "stroke": strokes}, where)


def pieces_of(places: np.ndarray) -> list[np.ndarray]:
  """(n, rank) positions of a stroke -> its straight pieces, (2, rank) each."""
  pieces = itertools.pairwise(places) if len(places) > 1 else [(places[0],) * 2]
  return [np.stack(piece) for piece in pieces]


def arrays(
  made: Mapping[str, Sequence[tuple[np.ndarray, int]]],
  rank: int,
  room: Mapping[str, int],
  where: str = "prompts",
) -> Prompts:
  """Kind -> (values, class) of each prompt, and how many there is room for -> Prompts."""
  shapes = {"point": (rank,), "box": (2, rank), "stroke": (2, rank)}
  out = []
  for kind, of in made.items():
    if len(of) > room[kind]:
      what = "pieces of strokes" if kind == "stroke" else f"prompts of kind '{kind}'"
      raise ValueError(f"{where}: {len(of)} {what}; there is room for {room[kind]}.")
    values = np.zeros((room[kind], *shapes[kind]), np.int32 if kind == "box" else np.float32)
    index = np.full(room[kind], NONE, np.int32)
    for i, (value, of_class) in enumerate(of):
      values[i], index[i] = value, of_class
    out += [values, index]
  return Prompts(*out)


def _kind_of(prompt, at):
  kinds = ("point", "box", "stroke")
  if not isinstance(prompt, Mapping):
    raise ValueError(
      f"{at}: {prompt!r}; expected an object with a class and a point, box or stroke."
    )
  kind = [key for key in prompt if key in kinds]
  if len(kind) != 1 or set(prompt) != {"class", *kind}:
    raise ValueError(
      f"{at}: has {', '.join(map(repr, prompt)) or 'nothing'}; expected 'class' and one of "
      f"{', '.join(map(repr, kinds))}."
    )
  return kind[0]


def _class_of(value, classes, at):
  if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < classes:
    raise ValueError(f"{at}.class: {value!r}; expected a whole number from 0 to {classes - 1}.")
  return value


def positions(value, kind: str, space: Sequence[int], at: str, *, name: str = "") -> np.ndarray:
  """(k, rank) float64 of a "point" (k = 1), "box" (2) or "stroke" (1 or more), in the image.

  Raises ValueError in words, that call it `name` if it is another one than `kind`.
  """
  name, rank = name or kind, len(space)
  places = numbers(value)
  places = np.zeros(()) if places is None else places
  places = places[None] if kind == "point" else places
  counts = {"point": "one position", "box": "two positions", "stroke": "one or more positions"}
  fits = places.ndim == 2 and places.shape[1] == rank and len(places) > 0
  if not fits or (kind == "box" and len(places) != 2):
    shown = repr(value) if len(repr(value)) < 200 else f"{repr(value)[:200]}..."
    raise ValueError(
      f"{at}.{name}: {shown}; expected {counts[kind]} of {rank} numbers each, in the image's "
      "order of axes."
    )
  inside = (places >= -0.5) & (places < np.asarray(space) - 0.5)
  if not inside.all():  # so is what is no number
    wrong = tuple(places[~inside.all(1)][0].tolist())
    raise ValueError(
      f"{at}.{name}: {wrong} is outside of the image, whose voxels go from 0 to "
      f"{tuple(n - 1 for n in space)}."
    )
  return places


def numbers(value: Any) -> np.ndarray | None:
  """Numbers in lists, or an array, as float64; None for what is none, as texts and truth values.

  NumPy would read "3" as 3 and true as 1.
  """
  if not _are_numbers(value):
    return None
  try:
    return np.asarray(value, np.float64)
  except (ValueError, OverflowError):  # rows of several lengths; more than float64 holds
    return None


def _are_numbers(value: Any) -> bool:
  if isinstance(value, list | tuple):
    return all(map(_are_numbers, value))
  if (kind := getattr(value, "dtype", None)) is not None:
    return kind.kind in "iuf"
  return isinstance(value, int | float) and not isinstance(value, bool)


class Marks(NamedTuple):
  """One class's marks, and where they are."""

  points: Array
  there: Array
  strokes: Array
  space: tuple[int, ...]
  spacing: Array | None
  image: Array | None


class PointEncoding(NamedTuple):
  """How points are shown: the field of a batch that it is, (*inputs(marks), options) -> the map."""

  field: str
  encode: Callable[..., Array]
  inputs: Callable[[Marks], tuple]


def _distance(marks: Marks):
  return (distance_to_points(marks.points, marks.there, marks.space, marks.spacing),)


def _places(marks: Marks):
  return marks.points, marks.there, marks.space


def _seeds(marks: Marks):
  if marks.image is None:
    raise ValueError("interaction: points 'geodesic' are ways along the image; give `image`.")
  voxels = jnp.floor(jnp.asarray(marks.points) + 0.5).astype(jnp.int32)
  flat = jnp.ravel_multi_index(tuple(voxels.T), marks.space, mode="clip")
  mask = jnp.zeros(math.prod(marks.space), bool).at[flat].max(marks.there)
  return marks.image, mask.reshape(marks.space) | (marks.strokes > 0), marks.spacing


def _geodesic(image, seeds, spacing, *, limit: float, contrast: float = 1.0, rounds=None):
  """`clipped` `geodesic_distance`."""
  distance = geodesic_distance(image, seeds, spacing, contrast=contrast, rounds=rounds)
  return maps.clipped(distance, limit=limit)


POINTS = {
  "disk": PointEncoding("clicks", maps.disk, _distance),
  "gaussian": PointEncoding("click_heat", maps.gaussian, _distance),
  "ball": PointEncoding("click_heat", maps.ball, _places),
  "tanh": PointEncoding("click_distance", maps.tanh, _distance),
  "geodesic": PointEncoding("click_geodesic", _geodesic, _seeds),
}


def fields(
  prompts: Prompts,
  space: Sequence[int],
  *,
  classes: int,
  points: Mapping[str, Any] | str = "disk",
  thickness: float = 2.0,
  spacing: Array | None = None,
  image: Array | None = None,
  strengths: tuple[Array, Array, Array] | None = None,
  drawn: Array | None = None,
) -> Batch:
  """The fields of a sample that show a network its prompts, with one map for each class.

  Args:
    prompts: of one sample; for a batch of them, under vmap.
    space: the image's size.
    classes: how many channels each field has.
    points: how points are shown, a name of `POINTS`, or a dict with its options. "geodesic" has
      strokes among its seeds, and the options `limit`, `contrast` and `rounds`.
    thickness: of a stroke.
    spacing: (rank,), with which lengths are millimetres; None: voxels. A "ball" is in voxels.
    image: (*space, channels), for "geodesic".
    strengths: of points, boxes and strokes a factor each, for maps that are 0 far from all marks;
      of several marks the strongest is seen.
    drawn: (*space, classes), 1 where strokes were painted, beside those of the prompts.

  Returns:
    {the points' field, "strokes", "prompt_box"}: (*space, classes) float32 each.
  """
  spec = {"name": points} if isinstance(points, str) else dict(points)
  name = spec.pop("name", None)
  if name not in POINTS:
    raise ValueError(
      f"interaction: points are shown as {name!r}{build.suggestion(str(name), POINTS)}; choices: "
      f"{', '.join(POINTS)}."
    )
  how = POINTS[name]
  build.check_options(name, list(spec), list(build.options_of(how.encode)), "points")

  def of_class(at_points, in_boxes, on_strokes, painted):
    def stroke_map(ends, there):
      distance = distance_to_strokes(ends[:, 0], ends[:, 1], there, space, spacing)
      # the distance along a stroke is rounded
      return maps.disk(distance, radius=thickness / 2 + 1e-4)

    def box_map(corners, there):
      return maps.boxes(corners[:, 0], corners[:, 1], there, space)

    def point_map(points, there, strokes=None):
      marks = Marks(points, there, strokes, tuple(space), spacing, image)
      return how.encode(*how.inputs(marks), **spec)

    each = (
      (stroke_map, prompts.strokes, on_strokes),
      (box_map, prompts.boxes, in_boxes),
      (point_map, prompts.points, at_points),
    )
    if strengths is None:
      strokes, box = (show(marks, there) for show, marks, there in each[:2])
      strokes = jnp.maximum(strokes, painted)
      points = point_map(prompts.points, at_points, strokes)
    else:
      strokes, box, points = (
        _strongest(*of, factor, space)
        for of, factor in zip(each, (strengths[2], strengths[1], strengths[0]), strict=True)
      )
      strokes = jnp.maximum(strokes, painted)
    return {how.field: points, "strokes": strokes, "prompt_box": box}

  of = (prompts.point_class, prompts.box_class, prompts.stroke_class)
  of_each = [jnp.asarray(index)[None] == jnp.arange(classes)[:, None] for index in of]
  painted = jnp.zeros((classes, *(1,) * len(space)))
  if drawn is not None:
    painted = jnp.moveaxis(jnp.asarray(drawn, jnp.float32), -1, 0)
  made = jax.vmap(of_class)(*of_each, painted)
  return {field: jnp.moveaxis(values, 0, -1) for field, values in made.items()}


def _strongest(show: Callable, marks, there, strengths, space) -> jax.Array:
  """(*space): of each mark's own map times its strength the largest."""

  marks, there, strengths = (jnp.asarray(of) for of in (marks, there, strengths))
  nothing = jnp.zeros(tuple(space), jnp.float32)
  if not len(there):
    return nothing

  def stronger(index, best):
    one = show(marks[index][None], there[index][None])
    return jnp.maximum(best, strengths[index] * one)

  used = jnp.max(jnp.where(there, 1 + jnp.arange(len(there)), 0), initial=0)
  return lax.fori_loop(0, used, stronger, nothing)
