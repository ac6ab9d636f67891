"""What a config's losses need: maps made for the cases that train, weights that follow the step."""

import jax
import numpy as np
import pytest

from jaxseg import defaults
from jaxseg import experiment as experiments
from jaxseg.batch import Target
from jaxseg.build import plain
from jaxseg.compose import complete
from jaxseg.data.stream import Feeder
from jaxseg.experiment import experiment
from jaxseg.loop import train
from jaxseg.objectives import losses_by_role, maps
from jaxseg.step import compile_step


def config_of(loss, **options):
  config = defaults.config()
  config.loss = loss
  config.data.maps = options
  return plain(config)


def test_only_the_maps_that_the_losses_need_are_made():
  assert maps(config_of({"dice": {}}, border={"w0": 3})) == {}
  assert maps(config_of({"boundary": {}})) == {"distance": {}}
  named = {"near": {"name": "boundary"}, "cross_entropy": {"weight_map": "border"}}
  assert maps(config_of(named, border={"w0": 3})) == {"distance": {}, "border": {"w0": 3}}
  with pytest.raises(ValueError, match=r"map 'bordr' is unknown.*weight_map: distance, border"):
    maps(config_of({"cross_entropy": {"weight_map": "bordr"}}))
  with pytest.raises(ValueError, match=r"data.maps.border.w1: 'border' has no such option"):
    maps(config_of({"dice": {}}, border={"w1": 3}))


def test_a_scheduled_weight_follows_the_step():
  config = config_of(
    {
      "dice": {"weight": {"name": "complement", "of": "boundary"}},
      "boundary": {"weight": {"name": "linear", "start": 0.0, "end": 1.0}},
    }
  )
  config["steps"] = 10
  total = jax.jit(losses_by_role(config)["loss"])
  random = np.random.default_rng(0)
  logits = random.normal(size=(1, 4, 5, 3)).astype(np.float32)
  phi = random.normal(size=logits.shape).astype(np.float32)
  target = Target(random.integers(0, 3, (1, 4, 5)), maps={"distance": phi})
  values = [float(total(logits, target._replace(step=np.int32(step)))) for step in (0, 5, 10)]
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  np.testing.assert_allclose(values[2], (p * phi)[..., 1:].mean(), rtol=1e-5)
  np.testing.assert_allclose(values[1], (values[0] + values[2]) / 2, rtol=1e-5)


def test_a_loss_that_is_no_dict_is_told():
  words = r"config\.loss\.dice: expected a dict of options, .* got 1\.0; its weight is config\.loss"
  with pytest.raises(ValueError, match=words):
    complete(config_of({"dice": 1.0}))


def test_a_run_with_maps_trains_from_both_caches_and_validates_without_them(tmp_path):
  config = defaults.config()
  config.steps = 2
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.loss = dict(
    cross_entropy=dict(weight_map="border"),
    boundary=dict(weight=dict(name="linear", start=0.01, end=1.0)),
  )
  config.data.source = dict(name="phantom", cases=4, size=(24, 24))
  config.data.split = dict(name="kfold", fold=0, folds=2, seed=0)
  config.data.folder = str(tmp_path / "prepared")
  config.data.patch = (16, 16)
  config.data.batch = 2
  config.augment = dict(mirror=dict())
  run = experiment(config)
  classes = run.main.dataset.labels.channels
  sample = run.main.dataset.load(run.main.cases[0])
  assert sample["distance"].shape == (24, 24, classes)
  assert sample["border"].shape == (24, 24)
  assert "distance" not in run.main.dataset.load(run.validation[0])
  made = {path.stem for path in run.main.dataset.folder.glob("fields/*/[0-9]*")}
  assert {int(name) for name in made} == set(run.main.cases)

  feeder = Feeder(run.streams, cache="host")
  element = feeder.element(0)
  step, seed = compile_step(run, element, {}), np.uint32(0)
  after, _ = step.train.eval_shape(step.init.eval_shape(seed), {}, element, seed)
  assert set(after.learners) == {"network"}

  report = train(run, tmp_path / "run")
  assert report["step"] == 2
  assert 0 <= report["validation"]["mean"]["dice"] <= 1


def voxels(run, stream):
  """How many voxels of each class the training cases of a stream have, by numpy."""
  of, classes = run.streams[stream], run.main.dataset.labels.channels
  labels = [np.asarray(of.dataset.load(case)["label"]) for case in of.cases]
  return np.array([sum((label == k).sum() for label in labels) for k in range(classes)])


def weights_of(config):
  return config["loss"]["cross_entropy"]["class_weights"]


@pytest.fixture
def weighed(monkeypatch):
  """What a method is given: its config, and those of further domains by name."""
  seen, method = {}, experiments.method

  def record(config, nets, *, domains=None, **options):
    seen.update({"": config, **(domains or {})})
    return method(config, nets, domains=domains or {}, **options)

  monkeypatch.setattr(experiments, "method", record)
  return seen


def two_sets(folder, **stream):
  config = defaults.config()
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.loss = dict(cross_entropy=dict(class_weights="complement"))
  config.data.source = dict(name="phantom", cases=4, size=(24, 24))
  config.data.split = dict(name="kfold", fold=0, folds=2, seed=0)
  config.data.folder = str(folder / "prepared")
  config.data.patch = (16, 16)
  config.data.batch = 2
  source = dict(name="phantom", cases=3, size=(24, 24), seed=5, appearance="mr")
  config.streams = dict(mr=dict(source=source, **stream))
  return config


def test_class_weights_are_counted_in_each_domain_by_itself(tmp_path, weighed):
  config = two_sets(tmp_path)
  config.method = dict(name="unpaired")
  run = experiment(config)
  main, mr = voxels(run, ""), voxels(run, "mr")
  np.testing.assert_allclose(weights_of(weighed[""]), 1 - main / main.sum(), rtol=1e-12)
  np.testing.assert_allclose(weights_of(weighed["mr"]), 1 - mr / mr.sum(), rtol=1e-12)
  assert not np.allclose(main / main.sum(), mr / mr.sum())
  told = {name: of["loss.cross_entropy"] for name, of in run.class_weights.items()}
  assert told == {"main": list(weights_of(weighed[""])), "mr": list(weights_of(weighed["mr"]))}
  # numbers are those of all
  weighed.clear()
  config.loss.cross_entropy.class_weights = (1.0,) * len(main)
  assert experiment(config).class_weights == {}
  assert weighed.keys() == {""}


@pytest.mark.parametrize("joins", ["beside", "instead"])
def test_class_weights_are_counted_in_all_that_is_learnt_from(tmp_path, weighed, joins):
  run = experiment(two_sets(tmp_path, joins=joins))
  seen = voxels(run, "mr") + (voxels(run, "") if joins == "beside" else 0)
  np.testing.assert_allclose(weights_of(weighed[""]), 1 - seen / seen.sum(), rtol=1e-12)
  assert list(run.class_weights) == ["main+mr" if joins == "beside" else "mr"]
