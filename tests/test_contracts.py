"""One row per network and config: adding an item is adding a row."""

import fnmatch
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes, trained_shapes
from network_rows import ROWS

from jaxseg import augment, data, inference, losses, methods, metrics, networks
from jaxseg.batch import Target
from jaxseg.build import build
from jaxseg.data import sampling
from jaxseg.experiment import complete, experiment
from jaxseg.experiment import loss as experiment_loss
from jaxseg.loop import compile_step, train
from jaxseg.losses import LOSSES, deep_supervision
from jaxseg.verbs.configs import load_config

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


def test_every_network_has_a_row():
  assert set(ROWS) == set(networks.NETWORKS)


@pytest.mark.parametrize(
  ("name", "count"),
  [(name, count) for name, row in ROWS.items() for count in row.counts],
  ids=lambda value: value if isinstance(value, str) else f"{value.parameters}",
)
def test_published_parameter_count(name, count):
  net = networks.NETWORKS[name](classes=count.classes, **count.options)
  # a size that the network takes as it is: its strides, and twice what valid convolutions cut off
  stride, margin = net.total_stride(count.rank), net.margin(count.rank)
  size = [-(-(64 + 2 * m) // s) * s for s, m in zip(stride, margin, strict=True)]
  _, variables = shapes(net, 1, *size, count.channels, train=True)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count.parameters


@pytest.mark.parametrize("name", ROWS)
def test_network_keeps_odd_sizes(name):
  net = networks.NETWORKS[name](classes=3, **ROWS[name].small)
  for size in ROWS[name].sizes:
    stride, margin = net.total_stride(len(size)), net.margin(len(size))
    assert len(stride) == len(margin) == len(size)
    space = tuple(n - 2 * m for n, m in zip(size, margin, strict=True))
    _, outputs = trained_shapes(net, 2, *size, 2)
    for logits in (outputs["logits"], *outputs.get("aux", ())):
      assert logits.dtype == jnp.float32
      assert logits.shape[-1] == 3
    assert outputs["logits"].shape == (2, *space, 3)


@pytest.mark.parametrize("name", ROWS)
def test_every_parameter_of_a_network_learns(name):
  row = ROWS[name]
  net = networks.NETWORKS[name](classes=3, **row.small)
  size = row.sizes[0]
  space = tuple(n - 2 * m for n, m in zip(size, net.margin(len(size)), strict=True))
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, *size, 2)).astype(np.float32)
  labels = rng.integers(0, 3, size=(2, *space))
  variables = {name: drawn(tree) for name, tree in shapes(net, *x.shape, train=True)[1].items()}
  mutable = [name for name in variables if name != "params"]

  @jax.jit
  def gradient(params):
    def loss(params):
      out, _ = net.apply(
        {**variables, "params": params},
        x,
        train=True,
        rngs={"dropout": jax.random.key(1)},
        mutable=mutable,
      )
      heads = deep_supervision(LOSSES["cross_entropy"])
      return heads([out["logits"], *out.get("aux", ())], Target(labels))

    return jax.grad(loss)(params)

  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables["params"])):
    where = jax.tree_util.keystr(path, simple=True, separator="/")
    assert np.isfinite(leaf).all(), where
    silent = any(fnmatch.fnmatch(where, pattern) for pattern in row.silent)
    assert np.abs(leaf).max() > 0 or silent, where


def drawn(tree):
  """Values for a tree of shapes, by numpy (nothing to compile), that keep the size of a signal."""
  rng = np.random.default_rng(1)

  def draw(path, leaf):
    if path[-1].key in ("scale", "var"):
      return rng.uniform(0.8, 1.2, leaf.shape).astype(np.float32)
    fan = max(1, leaf.size // leaf.shape[-1]) if leaf.shape else 1
    return (rng.normal(size=leaf.shape) * np.sqrt(2 / fan)).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, tree)


def test_no_package_exports_a_function_named_like_its_submodule():
  for package in (augment, data, inference, losses, methods, metrics, networks):
    submodules = {path.stem for path in pathlib.Path(package.__file__).parent.glob("[a-z]*.py")}
    for name in submodules:
      found = getattr(package, name, None)
      assert found is None or type(found).__name__ == "module", f"{package.__name__}.{name}"


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory, worker_id):
  """One folder for all of pytest-xdist's processes: real data are prepared once."""
  base = tmp_path_factory.getbasetemp()
  folder = (base if worker_id == "master" else base.parent) / "prepared"
  folder.mkdir(exist_ok=True)
  return folder


def built(path, folder, **changes):
  """The config's experiment, on the real data; the test is skipped where they are absent."""
  # before the config: configs/auto.py plans from the data
  if "phantom" not in path.stem and not (ROOT / "../shared/data").is_dir():
    pytest.skip("no real data beside the checkout (../shared/data): this config is not tried")
  config = load_config(str(path))
  config.data.folder = str(folder)
  if config.data.source.name == "phantom":
    config.data.source.cases = 5
  for name, value in changes.items():
    config.update_from_flattened_dict({name: value})
  return experiment(config)


@pytest.mark.parametrize("rank", [2, 3])
def test_every_row_of_the_comparison_configs_builds(rank):
  path = ROOT / "configs" / f"networks_{rank}d.py"
  names = runpy.run_path(str(path))["OPTIONS"]
  assert len(names) > 20
  for name in names:
    config = load_config(f"{path}:{name}")
    net = build(networks.NETWORKS, config.network, "network", classes=3)
    assert len(net.total_stride(rank)) == rank


def test_every_network_has_a_row_in_the_comparison_configs():
  rows = {}
  for rank in (2, 3):
    rows |= runpy.run_path(str(ROOT / "configs" / f"networks_{rank}d.py"))["OPTIONS"]
  assert {spec.get("name", row) for row, spec in rows.items()} == set(networks.NETWORKS)


@pytest.mark.parametrize("rank", [2, 3])
def test_every_loss_has_a_row_in_the_comparison_configs_that_builds(rank):
  path = ROOT / "configs" / f"losses_{rank}d.py"
  used = set()
  for name in runpy.run_path(str(path))["LOSSES"]:
    config = complete(load_config(f"{path}:{name}"))
    assert callable(experiment_loss(config))
    used |= set(config["loss"])
  assert used == set(LOSSES)


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
  small = {
    "network.widths": (4, 8),
    "network.depth": 1,
    "steps": 2,
    "log_every": 1,
    "evaluate.cases": 1,
    "predictor.overlap": 0.0,
  }
  config = load_config(str(path))
  rank = len(config.data.patch)
  if "kernels" in config.network:  # a plan's
    small |= {"network.depth": (1, 1), "network.decoder_depth": (1,)}
    small |= {"network.kernels": ((3,) * rank,) * 2, "network.strides": ((2,) * rank,)}
  small["data.patch"] = (16,) * rank
  small["data.batch"] = 2
  if config.data.source.name == "phantom":
    small["data.source.size"] = (32,) * len(config.data.source.size)
  run = built(path, prepared_folder, **small)
  run = run._replace(validation=run.validation[:1], watched=run.validation[:1])
  report = train(run, tmp_path)
  assert report["step"] == 2
  assert 0 <= report["validation"]["mean"]["dice"] <= 1
