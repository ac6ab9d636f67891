"""Volumes that are made up: what is in them, and a run on a machine without packages of data."""

import numpy as np
import pytest
from test_packages import without_packages

from jaxseg import defaults
from jaxseg.batch import LabelSpec
from jaxseg.benchmark import made_data

LABELS = LabelSpec(("background", "a", "b"), (0, 5, 9), ignore=7)


def config():
  values = defaults.fields()
  values.network = dict(name="unet", widths=(2, 4), depth=1, decoder_depth=1)
  values.data.patch, values.data.batch = (16, 24), 2
  return values


def test_a_case_holds_every_class_the_ignored_value_and_its_spacing():
  raw = made_data.case(LABELS, 2, (20, 24, 28), (3.0, 1.0, 2.0), seed=3)
  assert raw.image.shape == (20, 24, 28, 2)
  assert set(np.unique(raw.label)) == {0, 5, 7, 9}
  np.testing.assert_allclose(raw.geometry.spacing, (3, 1, 2))
  # the classes are apart in brightness: a network can learn them
  means = [raw.image[..., 0][raw.label == value].mean() for value in (0, 5, 9)]
  assert np.all(np.diff(means) > 50)


def test_many_classes_in_a_small_case_are_all_there():
  labels = LabelSpec(tuple(map(str, range(30))), tuple(range(30)))
  raw = made_data.case(labels, 1, (48, 48, 48), (1.0, 1.0, 1.0))
  assert len(np.unique(raw.label)) > 25


def test_a_case_is_drawn_from_its_seed():
  one, same, other = (made_data.case(LABELS, 1, (16, 16), (1, 1), seed=s) for s in (1, 1, 2))
  np.testing.assert_array_equal(one.image, same.image)
  assert not np.array_equal(one.label, other.label)


def test_made_cases_take_rank_patch_spacing_and_order_from_the_config():
  values = config()
  values.data.patch = (8, 16, 24)
  values.data.spacing, values.data.transpose = (3.0, 1.0, None), (2, 0, 1)
  source = made_data.source(values, channels=2, classes=4)
  raw = source.read(source.cases[1])
  # on the network's grid (10, 20, 30); stored so that the transposition gives that
  assert raw.image.shape == (20, 30, 10, 2)
  np.testing.assert_allclose(raw.geometry.spacing, (1, 1, 3))
  assert source.labels.channels == 4


def test_slices_come_from_volumes():
  values = config()
  values.data.slices = 1
  source = made_data.source(values, channels=1, classes=2)
  assert source.rank == 3
  assert source.read(source.cases[0]).image.shape == (20, 8, 30, 1)


def test_a_config_whose_data_are_missing_needs_channels_and_classes(tmp_path):
  values = config()
  values.data.source = dict(name="nnunet_raw", path=str(tmp_path / "nowhere"))
  with pytest.raises(ValueError, match=r"channels and classes.*nowhere"):
    made_data.made_experiment(values, tmp_path)
  run = made_data.made_experiment(values, tmp_path / "prepared", channels=1, classes=3, cases=4)
  assert len(run.main.cases) == len(run.validation) == 2
  assert run.task.channels == 3


def test_labels_and_channels_are_those_of_the_configs_own_data():
  values = config()
  values.data.source = dict(name="phantom", channels=2)
  source = made_data.source(values)
  assert source.channels == ("portal", "native")
  assert "liver" in source.labels.names


@pytest.mark.parametrize("field", ["prior", "fields"])
def test_fields_that_made_cases_lack_are_refused(field, tmp_path):
  values = config()
  values.data[field] = dict(scribble=dict(name="folder", path="here"))
  with pytest.raises(ValueError, match=f"config.data.{field}.*made up"):
    made_data.made_experiment(values, tmp_path, channels=1, classes=2)


def test_a_size_of_another_rank_and_too_few_cases_are_refused(tmp_path):
  with pytest.raises(ValueError, match="a size of"):
    made_data.source(config(), channels=1, classes=2, size=(8, 8, 8))
  with pytest.raises(ValueError, match="2 or more"):
    made_data.made_experiment(config(), tmp_path, channels=1, classes=2, cases=1)


BARE = """
import json
from jaxseg import defaults
from jaxseg.benchmark import inference, made_data, program, time_to
config = defaults.fields()
config.steps, config.evaluate.every, config.log_every = 4, 2, 1
config.network = dict(name="unet", widths=(2, 4), depth=1, decoder_depth=1)
config.data.patch, config.data.batch = (16, 16), 2
run = made_data.made_experiment(config, sys.argv[1], channels=1, classes=2, cases=2)
measured = program.of_experiment(run)
told = inference.measure(measured, options={"repeats": 1, "case_size": (24, 24)})
reached = time_to.measure(measured, options={"time_to": "dice=1e-9", "seeds": 1})
from jaxseg import packages
print(json.dumps([told, reached]))
"""


def test_a_machine_without_packages_of_data_trains_and_predicts(tmp_path):
  import json

  told, reached = json.loads(without_packages(BARE, str(tmp_path)).splitlines()[-1])
  assert "nibabel" in told["left_out"]
  assert set(told["parts_seconds"]) == {"resample", "windows", "resample_back"}
  assert len(reached["runs"]) == 1
