"""Cascades on regions: the second stage is given labels by nnU-Net, and here their regions."""

import jax.numpy as jnp
import nnunet_models as models
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.inference import Case
from jaxseg.interop.nnunet_import import import_model, members_of
from jaxseg.runs import folder as run_folder
from jaxseg.runs.load import load

NESTED = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "active": 3}
APART = {"background": 0, "all": [1, 2, 3], "left": [1, 3], "right": [2, 3]}


def stages(tmp_path, labels, order):
  """The folders of both stages of a cascade on regions of labels 1 to 3, the second's weights."""
  random, regions = np.random.default_rng(0), len(labels) - 1
  described = models.dataset(labels, regions_class_order=order)
  weights = models.state_dict(random, outputs=regions)
  early = models.write(tmp_path / "low", described=described, weights=weights)
  weights = models.state_dict(random, inputs=1 + 3, outputs=regions)
  plan = models.plans(previous_stage="2d")
  late = models.write(tmp_path / "m", plan=plan, described=described, weights=weights)
  import_model(early, tmp_path / "low run")
  return late, weights


@pytest.mark.parametrize(
  ("labels", "order"), [(NESTED, [1, 2, 3]), (APART, [3, 1, 2])], ids=["nested", "apart"]
)
def test_regions_say_what_the_labels_that_they_unite_say(tmp_path, labels, order):
  late, weights = stages(tmp_path, labels, order)
  (run,) = import_model(late, tmp_path / "run", previous=str(tmp_path / "low run")).folders
  random = np.random.default_rng(1)
  image = random.standard_normal((8, 8, 1)).astype(np.float32)
  label = random.integers(0, 4, (8, 8))
  regions = [of if isinstance(of, list) else [of] for of in list(labels.values())[1:]]
  prior = np.stack([np.isin(label, of) for of in regions], -1).astype(np.float32)
  case = Case({"image": image, "spacing": np.ones(2, np.float32), "prior": prior})
  one_hot = label[..., None] == np.arange(1, 4)
  seen = np.concatenate([image, one_hot], -1).astype(np.float32)
  expected = models.logits_of(weights, jnp.moveaxis(jnp.asarray(seen), -1, 0)[None])[0]
  assert_close(load(run).logits(case), np.moveaxis(np.asarray(expected), 0, -1), rtol=1e-4)
  np.testing.assert_array_equal(
    members_of(run_folder.describe(run).labels) @ one_hot.reshape(-1, 3).T, prior.reshape(-1, 3).T
  )


def test_regions_that_do_not_tell_the_labels_apart_are_refused(tmp_path):
  late, _ = stages(tmp_path, {"background": 0, "whole": [1, 2, 3], "core": [2, 3]}, [1, 2])
  words = r"given the 3 labels that the first stage wrote; .* its 2 regions, which don't tell"
  with pytest.raises(ValueError, match=words):
    import_model(late, tmp_path / "run", previous=str(tmp_path / "low run"))
  assert not (tmp_path / "run").exists()
