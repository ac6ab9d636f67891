"""One row per network and config: adding an item is adding a row."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import augment, data, inference, losses, methods, metrics, networks
from jaxseg.batch import Target
from jaxseg.data import sampling
from jaxseg.experiment import experiment
from jaxseg.loop import compile_step, train
from jaxseg.losses import LOSSES
from jaxseg.verbs.configs import load_config

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))

# name -> (small options, rank -> parameters at full size for 1 channel and 3 classes,
#          parameters that may have no gradient)
NETWORK_ROWS = {
  "unet": (dict(widths=(4, 6, 8), depth=1), {2: 22_720_640}, ()),
}


def test_every_network_has_a_row():
  assert set(NETWORK_ROWS) == set(networks.NETWORKS)


@pytest.mark.parametrize("name", NETWORK_ROWS)
def test_published_parameter_count(name):
  for rank, count in NETWORK_ROWS[name][1].items():
    net = networks.NETWORKS[name](classes=3)
    x = jax.ShapeDtypeStruct((1, *(64,) * rank, 1), jnp.float32)
    shapes = jax.eval_shape(lambda x, net=net: net.init(jax.random.key(0), x, train=True), x)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == count


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", NETWORK_ROWS)
def test_network_keeps_odd_sizes_and_every_parameter_learns(name, rank):
  options, _, silent = NETWORK_ROWS[name]
  net = networks.NETWORKS[name](classes=3, **options)
  size = (13, 10, 7)[:rank]
  x = jax.random.normal(jax.random.key(1), (2, *size, 2))
  assert len(net.total_stride(rank)) == len(net.margin(rank)) == rank
  variables = jax.jit(lambda x: net.init(jax.random.key(0), x, train=True))(x)
  labels = jax.random.randint(jax.random.key(2), (2, *size), 0, 3)

  @jax.jit
  def gradient(params):
    def loss(params):
      out, _ = net.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
      assert out["logits"].shape == (2, *size, 3)
      assert out["logits"].dtype == jnp.float32
      return LOSSES["cross_entropy"](out["logits"], Target(labels))

    return jax.grad(loss)(params)

  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables["params"])):
    where = jax.tree_util.keystr(path, simple=True, separator="/")
    assert np.isfinite(leaf).all(), where
    assert np.abs(leaf).max() > 0 or where in silent, where


def test_no_package_exports_a_function_named_like_its_submodule():
  for package in (augment, data, inference, losses, methods, metrics, networks):
    submodules = {path.stem for path in pathlib.Path(package.__file__).parent.glob("[a-z]*.py")}
    for name in submodules:
      found = getattr(package, name, None)
      assert found is None or type(found).__name__ == "module", f"{package.__name__}.{name}"


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory):
  return tmp_path_factory.mktemp("prepared")


def built(path, folder, **changes):
  """The config's experiment, on the real data; the test is skipped where they are absent."""
  config = load_config(str(path))
  config.data.folder = str(folder)
  if config.data.source.name == "phantom":
    config.data.source.cases = 5
  elif not (ROOT / "../shared/data").is_dir():
    pytest.skip("no real data beside the checkout (../shared/data): this config is not tried")
  for name, value in changes.items():
    config.update_from_flattened_dict({name: value})
  return experiment(config)


@pytest.fixture
def at_root(monkeypatch):
  monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_config_traces_at_full_size(path, prepared_folder, at_root):
  assert path.read_text().startswith('"""')
  run = built(path, prepared_folder)
  feeder = sampling.Feeder(run.dataset, run.training, run.sampling, cache="device")
  store = sampling.device_store(run.dataset, run.training)
  element = feeder.element(0, range(run.sampling.batch))
  step = compile_step(run, element, store)
  state = jax.eval_shape(step.init, np.uint32(0))
  after, metrics = jax.eval_shape(step.train, state, store, element, np.uint32(0))
  assert jax.tree.structure(after) == jax.tree.structure(state)
  assert {"loss", "learning_rate"} <= metrics.keys()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_config_takes_two_real_steps_at_a_tiny_size(path, prepared_folder, at_root, tmp_path):
  small = {"network.widths": (4, 8), "steps": 2, "log_every": 1, "evaluate.cases": 1}
  config = load_config(str(path))
  small["data.patch"] = (16,) * len(config.data.patch)
  small["data.batch"] = 2
  small["predictor.batch"] = 64
  if config.data.source.name == "phantom":
    small["data.source.size"] = (32,) * len(config.data.source.size)
  run = built(path, prepared_folder, **small)
  run = run._replace(validation=run.validation[:1])
  report = train(run, tmp_path)
  assert report["step"] == 2
  assert 0 <= report["validation"]["mean"]["dice"] <= 1
