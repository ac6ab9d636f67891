"""How good cases are that two runs make: diversity, likeness, the critics' verdict, copies."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from jaxseg.compose import networks_by_role
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.prepared.normalise import NORMALISATIONS
from jaxseg.data.sources.source import RawCase, Source
from jaxseg.evaluation import verdict
from jaxseg.method import Learner
from jaxseg.metrics import generation
from jaxseg.metrics.generation import Nearest
from jaxseg.networks.critics import PatchCritic
from jaxseg.runs import checkpoint as checkpoints
from jaxseg.runs import folder as run_folder
from jaxseg.runs import makers
from jaxseg.runs.load import open_runs, task_of

# a sample whose nearest training mask has this Dice or more is a copy
COPY = 0.98
_GRID = ("spacing", "resampling", "transpose", "orientation", "crop_nonzero")


class Windows(NamedTuple):
  """Cases of one size.

  Attributes:
    labels: (n, *space) class indices.
    images: (n, *space, channels) float32 intensities.
  """

  labels: np.ndarray
  images: np.ndarray


class _Case(NamedTuple):
  """A whole case on the network's grid, as `Windows` has each; `weight` may be None."""

  labels: np.ndarray
  images: np.ndarray
  weight: np.ndarray | None


class Judged(NamedTuple):
  """What is said of made cases, and what a page shows of them.

  Attributes:
    numbers: as JSON has them.
    made, real: windows.
    areas: class -> ("training", "made") shares of the voxels.
    copies: of each of the first samples: the nearest label map and image of a training case, with
      the windows themselves, turned as the sample lies.
  """

  numbers: dict[str, Any]
  made: Windows
  real: Windows
  areas: dict[str, tuple[np.ndarray, np.ndarray]]
  copies: list[dict[str, Any]]


def judge(
  source: Source,
  images: pathlib.Path,
  *,
  encoder: pathlib.Path | None = None,
  checkpoint: str = "latest",
  copies: int = 16,
  steps: int = 300,
  seed: int = 0,
  say: Callable[[str], None] = lambda text: None,
) -> Judged:
  """Judges the cases of a source of made cases by those that its run of images learnt from.

  Args:
    source: `data.sources.synthetic`.
    images: the run of images; its training cases are what is real, its validation cases what
      nobody has seen.
    encoder: a run that segments, whose features compare images; None compares none.
    checkpoint: of the runs, "latest" or "best".
    copies: how many of the samples are looked up among the training cases.
    steps: of the training of a new critic.
    seed: of windows and of that critic.
    say: is told what is going on.

  Raises ValueError where the run of images has no validation cases, or for an encoder of another
  kind or on voxels of another size.
  """
  told = run_folder.describe(images)
  if told.labels.regions:
    raise ValueError(
      f"{images}: its labels are regions, which overlap; expected classes, one for each voxel."
    )
  real, names = _real(images, told)
  if not names["held_out"]:
    raise ValueError(
      f"{images}: validates on no case (config.data.split), so that nothing real is left that its "
      "critic has not seen; train it with a split."
    )
  say(f"Making {len(source.cases)} cases ...")
  raws = [source.read(case) for case in source.cases]
  encode = source.labels.encode
  labels = np.stack([encode(raw.label, "a label map")[0] for raw in raws])
  made = Windows(labels, np.stack([raw.image for raw in raws]))
  random = np.random.default_rng(seed)
  drawn = {
    side: _drawn([real[name] for name in of], len(raws), labels.shape[1:], random)
    for side, of in names.items()
  }
  classes = 1 + len(source.labels.scored)
  numbers: dict[str, Any] = {
    "cases": {"made": len(raws), **{side: len(of) for side, of in names.items()}},
    "diversity": _diversity(made, drawn["training"], classes),
  }
  areas = {
    name: tuple(generation.shares(of.labels, classes)[:, k] for of in (drawn["training"], made))
    for k, name in enumerate(source.labels.scored, start=1)
  }
  numbers["areas"] = {
    name: {
      "training": float(of[0].mean()),
      "made": float(of[1].mean()),
      "earth_movers_distance": generation.earth_movers_distance(*of),
    }
    for name, of in areas.items()
  }
  if encoder is not None:
    say(f"Comparing the features of {encoder} ...")
    numbers["features"] = _likeness(encoder, told, made, drawn, checkpoint)
  say("Training a critic anew ...")
  numbers["verdict"] = _verdict(images, told, made, drawn, checkpoint, steps, seed)
  say(f"Looking for the nearest training case of {min(copies, len(raws))} samples ...")
  rows = _copies(made, drawn["held_out"], real, names["training"], classes, copies)
  numbers["copies"] = _leak(rows)
  return Judged(numbers, made, drawn["training"], areas, rows)


def _real(folder: pathlib.Path, told) -> tuple[dict[str, _Case], dict[str, list[str]]]:
  """The whole cases of a run's data on its network's grid, and which of them trained."""
  known, _ = makers.training_cases(folder)
  sides = run_folder.read_dataset(folder, {"training": list, "validation": list})
  names = {"training": sides["training"], "held_out": sides["validation"]}
  places = [known.channels.index(name) for name in told.targets]
  whole = {}
  for name in (*names["training"], *names["held_out"]):
    raw = known.read(name)
    grid = told.preparation.grid(raw.geometry, raw.image)
    image = grid.image(grid.cut(raw.image[..., places].astype(np.float32)))
    stored = makers.prepared_label(raw, told.preparation)
    weight = None if raw.weight is None else grid.weight(grid.cut(raw.weight))
    index, inner = told.labels.encode(stored, f"case '{name}'")
    if inner is not None:
      weight = inner if weight is None else weight * inner
    index = index if weight is None else index * (weight > 0)
    whole[name] = _Case(index.astype(np.int32), image, weight)
  return whole, names


def _drawn(cases: Sequence[_Case], count: int, size: tuple[int, ...], random) -> Windows:
  """Windows of real cases, each centred on a voxel of its foreground, the cases in turn.

  Where there are such, windows all of whose voxels count.
  """
  labels, images = [], []
  for number in range(count):
    label, image, weight = cases[number % len(cases)]
    counted = label > 0
    if weight is not None:
      counted &= ndimage.minimum_filter(weight, size, mode="nearest") > 0
    inside = np.argwhere(counted if counted.any() else label > 0)
    centre = inside[random.integers(len(inside))] if len(inside) else np.array(label.shape) // 2
    lacking = [max(0, n - have) for n, have in zip(size, label.shape, strict=True)]
    # as training has a case that is smaller than its patch
    pads = [(n // 2, -(-n // 2)) for n in lacking]
    label, image = np.pad(label, pads), np.pad(image, [*pads, (0, 0)], mode="edge")
    region = tuple(
      slice(start := int(np.clip(c - n // 2, 0, have - n)), start + n)
      for c, n, have in zip(centre, size, label.shape, strict=True)
    )
    labels.append(label[region])
    images.append(image[region])
  return Windows(np.stack(labels), np.stack(images).astype(np.float32))


def _diversity(made: Windows, real: Windows, classes: int) -> dict[str, float]:
  """Mean Dice of pairs, of both kinds; as many distinct label maps as there are."""
  of = {"made": made.labels, "training": real.labels}
  pairs = {name: generation.pairwise_dice(labels, classes) for name, labels in of.items()}
  told = {name: float(np.nanmean(dice)) for name, dice in pairs.items() if not _all_nan(dice)}
  distinct = len({label.tobytes() for label in made.labels})
  return {**{f"pairwise_dice_{name}": value for name, value in told.items()}, "distinct": distinct}


def _all_nan(values: np.ndarray) -> bool:
  return not np.isfinite(values).any()


def _likeness(encoder: pathlib.Path, told, made: Windows, drawn, checkpoint: str) -> dict[str, Any]:
  """Frechet distances of an encoder's features, beside that of two kinds of real windows."""
  features = _features(encoder, told, checkpoint)
  of = {name: features(images) for name, images in _images(made, drawn).items()}
  return {
    "encoder": str(encoder),
    "numbers": of["made"].shape[1],
    "made_to_training": generation.frechet_distance(of["made"], of["training"]),
    "held_out_to_training": generation.frechet_distance(of["held_out"], of["training"]),
  }


def _images(made: Windows, drawn) -> dict[str, np.ndarray]:
  return {"made": made.images, **{side: of.images for side, of in drawn.items()}}


def _features(folder: pathlib.Path, told, checkpoint: str) -> Callable[[np.ndarray], np.ndarray]:
  """(n, *space, channels) intensities -> (n, d): a segmenter's coarsest features, averaged."""
  other = run_folder.describe(folder)
  where = f"--encoder {folder}"
  if other.config["task"]["name"] != "segmentation":
    raise ValueError(f"{where}: does not segment; expected a run that does.")
  if tuple(other.channels) != tuple(told.targets):
    raise ValueError(
      f"{where}: sees the channels {', '.join(other.channels)}, and {', '.join(told.targets)} are "
      "made; expected the same."
    )
  for name in _GRID:
    if (ours := told.config["data"][name]) != (theirs := other.config["data"][name]):
      raise ValueError(
        f"{where}: its config.data.{name} is {theirs}, that of the run of images {ours}; expected "
        "voxels of one size."
      )
  opened = open_runs(folder, kind=makers.KINDS[checkpoint], devices=jax.local_devices()[:1])
  state = next(iter(opened.states.values()))
  # windows are on the network's grid already
  seen = dataclasses.replace(
    other.preparation,
    orientation="stored",
    spacing=(),
    transpose=(),
    crop_nonzero=False,
    resampling={},
    seen=None,
  )

  @jax.jit
  def coarsest(batch):
    outputs = opened.scheme.apply(state, batch)
    kinds = {k: x for k, x in outputs.items() if k not in ("logits", "image", "aux")}
    if not kinds:
      raise ValueError(f"{where}: its network gives no features; expected another, as a unet.")
    least = min(kinds.values(), key=lambda x: np.prod(x.shape[1:-1]))
    return least.astype(jnp.float32).mean(tuple(range(1, least.ndim - 1)))[0]

  def features(images: np.ndarray) -> np.ndarray:
    rows = []
    for image in images:
      geometry = plain_geometry(image.shape[:-1])
      # decoded images are floats of the range that the type of a picture has
      one = seen.apply(RawCase(image, None, None, geometry), "a window")
      fields = {"image": one[None], "spacing": np.ones((1, one.ndim - 1), np.float32)}
      rows.append(np.asarray(coarsest(fields)))
    return np.stack(rows)

  return features


def _verdict(folder, told, made: Windows, drawn, checkpoint: str, steps: int, seed: int):
  """Both critics', of pairs as the run's networks see them."""
  schemes = list(told.targets.values())

  def pairs(of: Windows) -> verdict.Pairs:
    classes = told.labels.channels
    if told.labels.regions:
      raise ValueError(
        "judge-synthetic: the labels are regions, which critics are not asked about."
      )
    maps = (of.labels[..., None] == np.arange(classes)).astype(np.float32)
    images = np.empty(of.images.shape, np.float32)
    for i, scheme in enumerate(schemes):
      options = dict(scheme)
      images[..., i] = NORMALISATIONS[options.pop("name")](of.images[..., i], **options)
    return verdict.Pairs(maps, images)

  learners = checkpoints.load_learners(folder, makers.KINDS[checkpoint])
  own, game = _own_critic(told, learners)
  critic = PatchCritic(widths=(16, 32, 64), norm="instance")
  real = {side: pairs(of) for side, of in drawn.items()}
  return verdict.verdict(real, pairs(made), critic=critic, judge=own, steps=steps, seed=seed) | {
    "game": game
  }


def _own_critic(told, learners: dict[str, Learner]):
  """The critic that images were trained against, and its game; None of a run without one."""
  if "critic" not in learners:
    return None, "none"
  critic = networks_by_role(told.config, task_of(told).channels)["critic"]
  game = told.config["method"].get("mode", "bce")
  return (critic, learners["critic"], game), game


def _copies(
  made: Windows, unseen: Windows, real: dict[str, _Case], training: list[str], classes, count
) -> list[dict[str, Any]]:
  """Of each sample the nearest training label map and image, and how near an unseen image is."""
  # every turn of a sample fits into a case
  side = max(made.labels.shape[1:])
  cases = [_at_least(real[name], side) for name in training]
  nearest_mask = generation.NearestMask([of.labels for of in cases], classes)
  nearest_image = generation.NearestImage([of.images for of in cases])
  rows = []
  for label, image, other in zip(*made, unseen.images, strict=True):
    if len(rows) == count:
      break
    mask, picture = nearest_mask(label), nearest_image(image)
    rows.append(
      {
        "dice": mask.value if label.any() else math.nan,
        "mask_case": training[mask.case],
        "mask": _window(cases[mask.case].labels, mask, label, 0),
        "distance": picture.value,
        "image_case": training[picture.case],
        "image": _window(cases[picture.case].images, picture, image, 1),
        "unseen_distance": nearest_image(other).value,
      }
    )
  return rows


def _at_least(case: _Case, side: int) -> _Case:
  """A case of which every window of so many voxels is there that has it whole along an axis.

  Around it are background and the image's edge.
  """
  pads = [(max(0, side - have),) * 2 for have in case.labels.shape]
  image = np.pad(case.images, [*pads, (0, 0)], mode="edge")
  return _Case(np.pad(case.labels, pads), image, None)


def _window(whole: np.ndarray, at: Nearest, sample: np.ndarray, channels: int) -> np.ndarray:
  """The window of a case, turned as the sample lies."""
  rank = whole.ndim - channels
  turned = list(generation.turns(np.arange(np.prod(sample.shape)).reshape(sample.shape), rank))
  shape = turned[at.turn].shape[:rank]
  cut = whole[tuple(slice(s, s + n) for s, n in zip(at.start, shape, strict=True))]
  back = np.empty_like(cut.reshape(-1))
  back[turned[at.turn].reshape(-1)] = cut.reshape(-1)
  return back.reshape(sample.shape)


def _leak(rows: list[dict[str, Any]]) -> dict[str, Any]:
  """The test of copies: passed where no sample's nearest training mask is (nearly) the same.

  A sample without foreground is like any other without, and nobody's: its Dice is NaN.
  """
  dice = [row["dice"] for row in rows if not math.isnan(row["dice"])]
  return {
    "samples": len(rows),
    "empty": len(rows) - len(dice),
    "largest_dice": max(dice, default=math.nan),
    "mean_dice": float(np.mean(dice)) if dice else math.nan,
    "limit": COPY,
    "passed": max(dice, default=0.0) < COPY,
    "smallest_image_distance": min(row["distance"] for row in rows),
    "mean_image_distance": float(np.mean([row["distance"] for row in rows])),
    "mean_image_distance_of_unseen_cases": float(np.mean([row["unseen_distance"] for row in rows])),
  }
