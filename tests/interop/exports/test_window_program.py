"""Windows of runs as one function: what the predictor makes of a case that is one window."""

import jax
import numpy as np
import pytest
import run_folders

from jaxseg.batch import LabelSpec
from jaxseg.data.prepared.normalise import NORMALISATIONS
from jaxseg.inference import Case
from jaxseg.interop.exports.window_program import decoded, window_program
from jaxseg.runs.load import load, open_runs

CT = {"name": "ct", "lower": -2.0, "upper": 2.0, "mean": 0.1, "std": 0.9}
OTHER = CT | {"mean": 0.4, "std": 0.7}


def folds(folder, rank=2):
  """Two folds whose normalisation has other numbers."""
  split = {"name": "kfold", "folds": 2, "seed": 0}
  out = []
  for fold, scheme in enumerate((CT, OTHER)):
    changes = {"data.split": split | {"fold": fold}}
    place = folder / f"fold_{fold}"
    out.append(run_folders.write(place, seed=fold, rank=rank, normalisation=scheme, **changes))
  return out


def opened(folders, **options):
  return open_runs(folders, devices=jax.local_devices()[:1], **options)


def window(rank=2):
  return np.random.default_rng(0).standard_normal((16,) * rank + (1,)).astype(np.float32)


def predicted(folders, image, **options):
  model = load(folders, **options)
  fields = {"spacing": np.ones(image.ndim - 1, np.float32)}
  for i, preparation in enumerate(model.configuration.preparations):
    scheme = dict(preparation.normalisation[0])
    seen = NORMALISATIONS[scheme.pop("name")](image[..., 0], **scheme)[..., None]
    fields |= {f"preparation {i}": {"image": seen}} if i else {"image": seen}
  return model.logits(Case(fields)), model.described.labels


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("mirror", [True, False])
def test_folds_and_mirror_images_are_averaged_as_by_the_predictor(tmp_path, mirror, loops):
  places, image = folds(tmp_path), window()
  expected, labels = predicted(places, image, mirror=mirror)
  program = window_program(opened(places, mirror=mirror), loops=loops)
  out = jax.jit(program.function)(program.weights, image[None], np.zeros((4, 1), np.float32))
  np.testing.assert_allclose(out["logits"][0], expected, atol=2e-5)
  np.testing.assert_array_equal(out["labels"][0], labels.decode(np.asarray(out["logits"][0])))


def test_windows_side_by_side_are_told_as_loaders_read_it(tmp_path):
  """An artefact whose overlap were a whole number would be refused as damaged."""
  predictor = {"name": "sliding_window", "overlap": 0}
  place = run_folders.write(tmp_path / "run", predictor=predictor)
  told = window_program(opened(place)).told
  assert (told["overlap"], type(told["overlap"])) == (0.0, float)


def test_mirror_images_swap_left_and_right(tmp_path):
  """The flip of a pair of classes, written out: the mean of two windows."""
  place = run_folders.write(tmp_path / "run", augment={"mirror": {"axes": (1,)}})
  runs = opened(place)
  flips = {"mirror_axes": (1,), "swap": ((1, 2),), "swap_axis": 1}
  image, numbers = window()[None], np.zeros((4, 1), np.float32)
  plain = window_program(runs)
  both = window_program(runs._replace(flips=flips))
  one = np.asarray(plain.function(plain.weights, image, numbers)["logits"])
  other = plain.function(plain.weights, image[:, :, ::-1], numbers)["logits"]
  other = np.asarray(other)[:, :, ::-1][..., [0, 2, 1]]
  out = both.function(both.weights, image, numbers)["logits"]
  np.testing.assert_allclose(out, (one + other) / 2, atol=1e-5)


def test_folds_of_other_normalisations_are_not_given_normalised_windows(tmp_path):
  """One window cannot be what each of them sees."""
  with pytest.raises(
    ValueError, match=r"fold_0, .*fold_1: normalise scans by numbers of their own"
  ):
    window_program(opened(folds(tmp_path)), normalised=True)


def test_normalised_windows_are_given_to_the_network_as_they_are(tmp_path):
  place = run_folders.write(tmp_path / "run", normalisation={"name": "zscore"})
  runs, image = opened(place), window()[None]
  program = window_program(runs, normalised=True)
  (state,) = runs.states.values()
  expected = runs.scheme.apply(state, {"image": image})["logits"]
  out = program.function(program.weights, image, np.zeros((4, 1), np.float32))
  np.testing.assert_allclose(out["logits"], expected, atol=1e-5)
  assert not program.of_a_scan
  assert window_program(runs).of_a_scan


def test_slices_are_windows_of_one_voxel(tmp_path):
  changes = {"data.patch": (16, 16), "data.slices": 0, "predictor": {"name": "slices"}}
  place = run_folders.write(tmp_path / "run", **changes)
  runs = opened(place)
  told = [runs.told[0]._replace(rank=3)]
  program = window_program(runs._replace(told=told))
  assert program.told["window"] == (1, 16, 16)
  image = window()[None, None]
  out = program.function(program.weights, image, np.zeros((4, 1), np.float32))
  assert out["logits"].shape == (1, 1, 16, 16, 3)
  assert out["labels"].shape == (1, 1, 16, 16)


def test_regions_are_decoded_later_ones_on_top():
  labels = LabelSpec(("whole", "core"), (0, 1, 4), regions=((1, 4), (4,)))
  logits = np.random.default_rng(0).standard_normal((2, 5, 6, 2)).astype(np.float32)
  np.testing.assert_array_equal(decoded(logits, labels), labels.decode(logits))


def test_cascades_are_refused_by_name(tmp_path):
  place = run_folders.write(tmp_path / "run", prior=3, **{"data.prior": {"run": "low"}})
  with pytest.raises(ValueError, match=r"run: is the second stage of a cascade.*--format saved"):
    window_program(opened(place))


def test_runs_that_make_images_of_labels_are_refused(tmp_path):
  runs = opened(run_folders.write(tmp_path / "run"))
  config = runs.told[0].config | {"task": {"name": "synthesis", "inputs": "label"}}
  with pytest.raises(ValueError, match="makes images of labels"):
    window_program(runs._replace(told=[runs.told[0]._replace(config=config)]))
