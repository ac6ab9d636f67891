"""augment --preview: a picture sheet of what a config's augmentation does to its own data."""

import functools
import pathlib
import sys

import imageio.v3 as imageio
import jax
import numpy as np
from PIL import Image, ImageDraw

from jaxseg import augment, files
from jaxseg.batch import LabelSpec, kind
from jaxseg.build import bind
from jaxseg.compose import complete
from jaxseg.config.ranges import COUNT, SEED
from jaxseg.data import sampling
from jaxseg.data.stream import MAIN, Feeder, Stream
from jaxseg.feeding import augmentation, facts, feeds, indices, prepared
from jaxseg.inference.pictures import colour, stack, telling_slice
from jaxseg.planning.planned_config import resolve
from jaxseg.verbs.arguments import Parser, add_config, check_folder, number, parse

SIZE, MARGIN, GAP = 200, 130, 4
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
# without a look of their own: they act on what the others do
UNSEEN = ("find_body", "mask_body")
FURTHER = {
  "shear": dict(name="spatial", p_rotation=0.0, p_scale=0.0, p_shear=1.0, shear=0.3),
  "elastic": dict(name="spatial", p_rotation=0.0, p_scale=0.0, p_elastic=1.0, displacement=5.0),
  "elastic, smooth": dict(
    name="spatial", p_rotation=0.0, p_scale=0.0, p_elastic=1.0, elastic="smooth", displacement=3.0
  ),
}


def every() -> dict[str, dict]:
  """All known augmentations at their defaults, and the further ways of `spatial`."""
  names = [name for name in (*augment.AUGMENTATIONS, *augment.MIXTURES) if name not in UNSEEN]
  return {names[0]: {}, **FURTHER, **{name: {} for name in names[1:]}}


def certain(table, key: str, spec: dict, **given):
  """A transform that is drawn for certain, if it can be drawn at all; mirrors stay at half."""
  act = bind(table, {"name": key, **spec}, f"augment.{key}", **given)
  if act.func is augment.mirror:
    return act
  known = {**act.func.__kwdefaults__, **act.keywords}
  chances = [name for name in known if name == "p" or name.startswith("p_")]
  return functools.partial(act, **{name: 1.0 for name in chances if known[name] > 0})


def classes_of(sample, field: str, first: int) -> np.ndarray:
  """What is outlined: an integer label, or the class of the highest of the maps from `first` on."""
  field = field if field in sample else "soft_label"
  values = np.asarray(sample[field])
  if not kind(field).channels:
    return values
  foreground = values[..., first:]
  # regions lie inside one another: the last of equals is the innermost
  last = foreground.shape[-1] - np.argmax(foreground[..., ::-1], -1)
  return np.where(foreground.max(-1) > 0.25, last, 0)


def tile(image: np.ndarray, classes: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
  """(h, w, c) image in grey between `limits`, the border of each class in its colour, uint8 RGB."""
  image = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, -1)
  scaled = np.clip((image - limits[0]) / max(limits[1] - limits[0], 1e-6), 0, 1) * 255
  factor = max(1, round(SIZE / max(image.shape[:2])))
  picture, mask = (np.repeat(np.repeat(x, factor, 0), factor, 1) for x in (scaled, classes))
  padded = np.pad(mask, 1, mode="edge")
  around = (padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1])
  edge = np.any([neighbour != mask for neighbour in around], 0) & (mask > 0)
  return np.where(edge[..., None], colour(mask), picture).astype(np.uint8)


def row(name: str, samples: list[dict], field: str, first: int) -> np.ndarray:
  """A line of the sheet: the name, and the samples at the slice that tells most of the first.

  `field` is outlined; its maps count from `first`, 1 where the background has one.
  """
  original = classes_of(samples[0], field, first)
  at = telling_slice(original) if original.ndim == 3 else None
  # the original's contrast for all: else each picture would undo what was done to its values
  limits = np.percentile(np.asarray(samples[0]["image"], np.float32), (0.5, 99.5))
  pictures = []
  for sample in samples:
    image, classes = np.asarray(sample["image"], np.float32), classes_of(sample, field, first)
    image, classes = (image, classes) if at is None else (image[at], classes[at])
    pictures.append(tile(image, classes, limits))
  text = Image.new("RGB", (MARGIN, pictures[0].shape[0]), "white")
  ImageDraw.Draw(text).text((6, text.height // 2 - 6), name, fill="black")
  tiles = [
    np.pad(p, ((0, 0), (0, GAP), (0, 0)), constant_values=255)
    for p in (np.asarray(text), *pictures)
  ]
  return np.concatenate(tiles, 1)


def with_prior(sample: dict, labels: LabelSpec) -> dict:
  """The label as the prior of a perfect first stage."""
  field = labels.field
  return {**sample, "prior": labels.one_hot(np.asarray(sample[field]))}


def sheet(config, specs: dict[str, dict], *, draws: int, seed: int) -> np.ndarray:
  """One row per augmentation in `specs`: the original, then `draws` draws; (h, w, 3) uint8."""
  feed = feeds(config)[MAIN]
  dataset = prepared(feed, feed)
  training = indices(dataset, feed.cases)
  options = config["data"]
  patch, slices = tuple(options["patch"]), options["slices"]
  spacing = dataset.load(training[0])["spacing"]
  spacing = spacing if slices is None else np.delete(spacing, slices)
  labels, code = dataset.labels, dataset.preparation.code
  _, crop = augmentation({**config, "augment": specs}, patch, labels, spacing)
  how = sampling.sampling(
    dataset.rank,
    patch=patch,
    crop=crop,
    batch=draws + 1,
    foreground=1.0,
    slices=slices,
    seed=seed,
  )
  batch = Feeder({MAIN: Stream(dataset, training, how)}, cache="host").element(0)[MAIN]
  samples = [{field: x[n] for field, x in batch.items()} for n in range(draws + 1)]
  label, first = labels.field, labels.first
  lone = jax.random.key(0)
  whole = augment.chain({}, patch)
  rows = []
  for key, spec in specs.items():
    name, keys = spec.get("name", key), jax.random.split(jax.random.key(seed), draws)
    if name in augment.MIXTURES:
      act = certain(augment.MIXTURES, key, spec, classes=labels.channels)
      cut = [whole(lone, sample) for sample in samples]
      mixed = jax.jit(act)(keys[0], {field: np.stack([s[field] for s in cut]) for field in cut[0]})
      drawn = [{field: x[n] for field, x in mixed.items()} for n in range(draws)]
      rows.append(row(key, [cut[0], *drawn], label, first))
      continue
    if name in UNSEEN:
      continue
    start, shown = samples[0], label
    if name.startswith("prior"):
      start, shown = with_prior(start, labels), "prior"
    act = certain(augment.AUGMENTATIONS, key, spec, **facts(config, labels, patch, code))
    act = jax.jit(augment.chain([act], patch))
    rows.append(row(key, [whole(lone, start), *(act(k, start) for k in keys)], shown, first))
  return stack(rows)


def main(arguments: list[str]) -> None:
  parser = Parser(prog="jaxseg augment", description=__doc__)
  add = parser.add_argument
  add_config(parser)
  add("--preview", action="store_true", help="write the picture sheet (all that this verb does)")
  add("--output", default="augmentation.png", help="picture to write (default: %(default)s)")
  add("--all", action="store_true", help="every known augmentation, not only the config's")
  draws = "pictures beside the original (default: %(default)s)"
  add("--draws", type=number(int, COUNT), default=5, help=draws)
  add("--seed", type=number(int, SEED), default=0, help="of the draws (default: %(default)s)")
  options, config = parse(parser, arguments)
  if not options.preview:
    parser.error("--preview is missing: say it to write the picture sheet")
  try:
    output = pathlib.Path(options.output)
    if output.suffix.lower() not in PICTURES or output.is_dir():
      raise ValueError(f"--output {output}: expected a picture to write, {' or '.join(PICTURES)}.")
    check_folder(output.parent, "--output")
    config = complete(resolve(config, make=False))
    specs = every() if options.all else config["augment"]
    if not specs:
      raise ValueError("config.augment is empty; --all shows every known augmentation.")
    picture = sheet(config, specs, draws=options.draws, seed=options.seed)
    with files.replacing(output) as temporary:
      imageio.imwrite(temporary, picture)
  except (ValueError, OSError) as error:
    sys.exit(f"augment: {error}")
  print(f"{options.output}: {len(specs)} augmentations, the original on the left")
