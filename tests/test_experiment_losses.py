"""What a config's losses need: maps made for the cases that train, weights that follow the step."""

import jax
import numpy as np
import pytest

from jaxseg import defaults
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
