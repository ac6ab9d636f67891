"""predict: images in, segmentations out, on the images' own grid."""

import argparse
import json
import pathlib
import sys
from collections.abc import Callable
from typing import NamedTuple

import imageio.v3 as imageio
import jax
import numpy as np
import tqdm

from jaxseg import checkpoint, data, files, run_folder
from jaxseg.data import RawCase
from jaxseg.data.cases import find_cases, read_case
from jaxseg.data.geometry import oriented
from jaxseg.experiment import method, network, window
from jaxseg.inference import Case, pictures
from jaxseg.method import Learner, State
from jaxseg.validation import classes_of, flat_classes


class Model(NamedTuple):
  """A trained run, ready to predict.

  Attributes:
    described: what its run folder tells.
    logits: (Case, progress) -> (*space, k) float32 logits on the case's grid.
  """

  described: run_folder.Described
  logits: Callable


def load(workdir, *, kind: str = checkpoint.LATEST, mirror: bool = False) -> Model:
  """Loads a run folder, which needs nothing else: neither the data set nor its config file.

  Args:
    workdir: the run folder.
    kind: checkpoint.LATEST (the end of training) or checkpoint.BEST (the best validation score).
    mirror: averages the logits over all mirror images.
  """
  told = run_folder.describe(workdir)
  config = told.config
  patch = tuple(config["data"]["patch"])
  net = network(config, told.labels.channels)
  scheme = method(config, net, regions=told.labels.regions is not None)
  learners = {
    name: Learner(learner.params, learner.stats, ())
    for name, learner in checkpoint.load_learners(workdir, kind).items()
  }
  state = State(np.zeros((), np.int32), learners)
  compiled = jax.jit(lambda state, batch: {"logits": scheme.apply(state, batch)["logits"]})
  predict = window(config, net, patch, config["data"]["slices"])
  # left and right organs swap their names where the last axis, x, is mirrored
  flips = {"mirror_axes": tuple(range(len(patch))), "swap": told.labels.mirror_pairs}

  def logits(case: Case, progress=None):
    return predict(
      lambda batch: compiled(state, batch), case, progress=progress, **(flips if mirror else {})
    )

  return Model(told, logits)


def read(paths: tuple[pathlib.Path, ...], told: run_folder.Described) -> RawCase:
  """Reads the channels of a case and checks them against what the network was trained on."""
  raw = read_case(paths, rank=told.rank)
  where = paths[0]
  rank, channels = raw.image.ndim - 1, raw.image.shape[-1]
  if rank != told.rank:
    raise ValueError(
      f"{where}: has {rank} spatial axes {raw.image.shape[:-1]}, but the network was trained on "
      f"cases with {told.rank}; give it images like those."
    )
  if channels != len(told.channels):
    raise ValueError(
      f"{where}: has {channels} channel(s), but the checkpoint's network takes "
      f"{len(told.channels)} ({', '.join(told.channels)}); give it all of them."
    )
  return raw


def predict_case(model: Model, raw: RawCase, where, progress=None):
  """(stored label values (*space), logits (*space, k)), both on the grid of the input.

  `where` is what messages call the image.
  """
  told = model.described
  image = told.preparation.apply(raw, str(where))
  spacing = oriented(raw.geometry, told.preparation.orientation).spacing
  scores = model.logits(Case(image, spacing), progress)
  scores = told.preparation.restore(scores, raw.geometry)
  return told.labels.decode(scores), scores


def probabilities(scores: np.ndarray, regions: bool) -> np.ndarray:
  """Softmax over classes, or a sigmoid per region; float32."""
  with np.errstate(over="ignore"):
    if regions:
      return 1 / (1 + np.exp(-scores))
    raised = np.exp(scores - scores.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def write(folder: pathlib.Path, name: str, ending: str, raw, labels, scores, told, wanted) -> None:
  """Writes the labels, and what else was asked for."""
  data.write_label(folder / f"{name}{ending}", labels, raw.geometry)
  if wanted.overlay:
    shown = flat_classes(classes_of(scores, told.labels), told.labels)
    picture = pictures.panel(raw.image.astype(np.float32), shown)
    with files.replacing(folder / f"{name}_overlay.png") as temporary:
      imageio.imwrite(temporary, picture)
  if wanted.probabilities:
    with files.replacing(folder / f"{name}_probabilities.npz") as temporary:
      shares = probabilities(scores, told.labels.regions is not None)
      np.savez_compressed(temporary, probabilities=shares.astype(np.float32))


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="jaxseg predict",
    description="Segments images with a trained run. Output: NIfTI with the input's own geometry "
    "for volumes, PNG for pictures, with the label values of the training data.",
  )
  add = parser.add_argument
  add("--workdir", required=True, type=pathlib.Path, help="run folder of train.py")
  add("--input", required=True, type=pathlib.Path, help="an image, a folder, or a DICOM series")
  add("--output", required=True, type=pathlib.Path, help="folder for the segmentations")
  add("--checkpoint", choices=("latest", "best"), default="latest", help="default: latest")
  add("--mirror", action="store_true", help="average over mirror images: slower, often better")
  add("--overlay", action="store_true", help="also write pictures, image | labels over image")
  add("--probabilities", action="store_true", help="also write probabilities as .npz")
  return parser


def main(arguments: list[str]) -> None:
  wanted = _parser().parse_args(arguments)
  try:
    _run(wanted)
  except (ValueError, OSError) as error:
    sys.exit(f"predict: {error}")


def _run(wanted) -> None:
  kind = checkpoint.BEST if wanted.checkpoint == "best" else checkpoint.LATEST
  model = load(wanted.workdir, kind=kind, mirror=wanted.mirror)
  told = model.described
  cases = find_cases(wanted.input)
  files.writable_folder(wanted.output, "--output")
  bar = tqdm.tqdm(cases.items(), unit="case", disable=not sys.stderr.isatty())
  written = []
  for name, paths in bar:
    raw = read(paths, told)

    def progress(done, total, name=name):
      bar.set_postfix_str(f"{name}: window {done} of {total}")

    labels, scores = predict_case(model, raw, paths[0], progress)
    ending = ".png" if raw.geometry.kind == "picture" and raw.geometry.rank == 2 else ".nii.gz"
    write(wanted.output, name, ending, raw, labels, scores, told, wanted)
    written.append(name)
  # a region is told by the values that it unites
  values = told.labels.regions or told.labels.stored_values
  legend = dict(zip(told.labels.names, values, strict=True))
  files.write_json(wanted.output / "labels.json", legend)
  print(f"{len(written)} case(s) written to {wanted.output}; values: {json.dumps(legend)}")
