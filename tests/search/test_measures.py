"""Scores of candidates that are not trained, of a config: untrained networks, shared weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import searched
from closeness import assert_close
from flax import linen as nn
from method_rows import small_supernet
from ml_collections import ConfigDict

from jaxseg import paths
from jaxseg.build import plain
from jaxseg.compose import complete
from jaxseg.experiment import experiment
from jaxseg.method import forward, learner
from jaxseg.networks.blocks.norm import Norm
from jaxseg.search import choice, measures
from jaxseg.search.measures import measured
from jaxseg.verbs import train


def config(folder, **network):
  made = searched.config(folder)
  made.search = dict()
  if network:
    made.network = network
  return complete(made)


def test_untrained_networks_are_scored_with_the_first_batches(tmp_path):
  of = config(tmp_path)
  run = experiment(of)
  batches = measures.batches_of(run, 2)
  assert batches[0]["image"].shape == (2, 16, 16, 1)
  assert not np.array_equal(batches[0]["image"], batches[1]["image"])
  values = {name: measured(of, {"name": name}) for name in ("naswot", "gradient_norm", "synflow")}
  assert all(map(np.isfinite, values.values()))
  # the same weights and batches whenever they are asked for
  assert measured(of, {"name": "naswot"}) == values["naswot"]
  # a wider network has more paths
  wide = config(tmp_path, name="unet", widths=(8, 16), depth=1, decoder_depth=1)
  assert measured(wide, {"name": "synflow"}) > values["synflow"]


def test_the_gradient_is_that_of_the_configs_loss(tmp_path):
  of = config(tmp_path)
  once = measured(of, {"name": "gradient_norm"})
  doubled = dict(of, loss={k: {**spec, "weight": 2.0} for k, spec in of["loss"].items()})
  assert_close(measured(doubled, {"name": "gradient_norm"}), 2 * once, rtol=1e-4)


def test_the_gradient_is_weighed_by_the_classes_that_are_counted(tmp_path):
  of = config(tmp_path)
  counted = dict(of, loss=dict(cross_entropy=dict(class_weights="inverse")))
  run = experiment(counted)
  labels = np.concatenate([run.main.dataset.load(i)["label"].ravel() for i in run.main.cases])
  voxels = np.bincount(labels, minlength=run.main.dataset.labels.channels)
  weights = tuple((voxels.sum() / (len(voxels) * voxels)).tolist())
  given = dict(of, loss=dict(cross_entropy=dict(class_weights=weights)))
  norms = [measured(one, {"name": "gradient_norm"}) for one in (counted, given)]
  assert_close(norms[0], norms[1], rtol=1e-5)


def test_statistics_of_a_candidate_are_its_own_and_none_of_the_supernets():
  net = small_supernet("cells", norm="batch")
  cells = net.choices(2)
  down, up = [[["down_conv", 0], ["max", 1]]], [[["conv", 0], ["up_conv", 1]]]
  mix = choice.one_hot(cells, {"space": "nas_unet", "down": down, "up": up})
  random = np.random.default_rng(0)
  images = [jnp.asarray(random.normal(size=(2, 8, 8, 1)), jnp.float32) for _ in range(2)]
  first = learner(net, None, jax.random.key(0), images[0])
  # what the mixture left there is far from what any batch has
  stats = jax.tree.map(lambda x: x + 50, first.stats)
  settled = measures.settle(net, first.replace(stats=stats), mix, images)
  of_batch = []
  for image in images:
    seen = {}

    def record(call, args, kwargs, context, seen=seen):
      if getattr(context.module, "kind", "") == "batch" and isinstance(context.module, Norm):
        x = np.asarray(args[0], np.float64)
        seen["/".join(context.module.path)] = x.mean((0, 1, 2)), x.var((0, 1, 2))
      return call(*args, **kwargs)

    with nn.intercept_methods(record):
      forward(net, first.params, stats, image, mix, update_stats=True, train=False)
    of_batch.append(seen)
  known = paths.flatten(settled["batch_stats"])
  assert len(known) == 2 * len(of_batch[0]) > 4
  for module, ours in of_batch[0].items():
    for name, a, b in zip(("mean", "var"), ours, of_batch[1][module], strict=True):
      # the later of two batches weighs 1, the one before 0.9
      assert_close(known[f"{module}/{name}"], (0.9 * a + b) / 1.9, rtol=1e-4, atol=1e-4)


def test_a_supernets_weights_score_a_genotype(tmp_path):
  cells = dict(nodes=1, features=4, depth=1, norm="instance")
  made = searched.config(tmp_path)
  made.search = dict()
  made.steps = 2
  made.method = dict(name="darts")
  few = dict(down=("avg", "down_conv"), up=("up_conv",), normal=("identity", "conv"))
  made.network = dict(name="cell_supernet", operations=few, **cells)
  made.data.split = dict(name="kfold", fold=0, folds=5, labelled=0.5)
  made.streams = dict(architecture=dict(cases="held_back"))
  train.run(ConfigDict(plain(made)), tmp_path / "supernet")
  down, up = [[["down_conv", 0], ["avg", 1]]], [[["conv", 0], ["up_conv", 1]]]
  genotype = dict(space="nas_unet", down=down, up=up)
  of = config(tmp_path, name="cell_unet", genotype=genotype, features=4, depth=1, norm="instance")
  score = measured(of, {"name": "shared", "folder": str(tmp_path / "supernet")})
  assert 0 <= score <= 1
  other = {**of, "network": {**of["network"], "features": 8}}
  with pytest.raises(ValueError, match="features=4, the candidate 8"):
    measured(other, {"name": "shared", "folder": str(tmp_path / "supernet")})
  # images that its weights have never seen the like of
  bright = {**of, "data": {**of["data"], "normalise": "minmax"}}
  with pytest.raises(ValueError, match=r"evaluation.run: .*its normalisation .* is not this run's"):
    measured(bright, {"name": "shared", "folder": str(tmp_path / "supernet")})
  # a network whose weights are not among them
  with pytest.raises(ValueError, match=r"evaluation.run: .*has no weights for 'unet'"):
    measured(config(tmp_path), {"name": "shared", "folder": str(tmp_path / "supernet")})
