"""Model folders of nnU-Net's are read as it reads them, and refused where that is not known."""

import json

import nnunet_models as models
import numpy as np
import pytest

from jaxseg.interop.nnunet_folder import read_folder


@pytest.mark.parametrize("field", ["image_reader_writer", "label_manager"])
def test_readers_and_label_managers_of_ones_own_are_refused_by_name(tmp_path, field):
  """They decide how a scan lies and what a class means."""
  models.write(tmp_path, plan=models.plans() | {field: "Mine"})
  with pytest.raises(ValueError, match=rf"{field} is 'Mine', which is none of nnU-Net 2\.8\.1's"):
    read_folder(tmp_path)


def test_channels_that_changed_places_are_refused(tmp_path):
  names = models.dataset(inputs=2)
  weights = models.state_dict(np.random.default_rng(0), inputs=2)
  names |= {"channel_names": {"0": "T1", "1": "T2"}}
  models.write(tmp_path, plan=models.plans(inputs=2), described=names, weights=weights)
  names |= {"channel_names": {"0": "T2", "1": "T1"}}
  (tmp_path / "dataset.json").write_text(json.dumps(names))
  words = r"fold_0/.*: was trained on the channels T1, T2, dataset\.json beside has T2, T1"
  with pytest.raises(ValueError, match=words):
    read_folder(tmp_path)


def test_values_in_lists_of_one_are_labels_as_nnunet_has_it(tmp_path):
  models.write(
    tmp_path, described=models.dataset({"background": 0, "a": [1]}, regions_class_order=[1])
  )
  labels = read_folder(tmp_path).labels
  assert (labels.names, labels.regions) == (("background", "a"), None)


def test_an_optimisers_state_of_another_make_leaves_the_weights(tmp_path):
  weights = models.state_dict(np.random.default_rng(0))
  usual = {"params": list(range(len(weights)))}
  for number, (buffers, group) in enumerate(
    [({}, 5), ({0: 5}, usual), ({0: {"momentum_buffer": 1.0}}, usual), ({}, {"params": 26})]
  ):
    state = {"state": buffers, "param_groups": [group]}
    folder = models.write(tmp_path / f"m{number}", weights=weights, optimizer_state=state)
    assert read_folder(folder).checkpoints["0"].momentum == {}
