"""One row per network and config: adding an item is adding a row."""

import fnmatch
import functools
import inspect
import json
import os
import pathlib
import runpy

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes, trained_shapes
from closeness import assert_close
from gradients import drawn, learning, silent_parameters
from network_rows import ROWS, SUPERNETS
from part_rows import PARTS

from jaxseg import augment, data, inference, losses, methods, metrics, networks
from jaxseg.batch import kind
from jaxseg.build import build
from jaxseg.compose import complete
from jaxseg.config.file import load_config
from jaxseg.config.streams import as_main
from jaxseg.data.stream import Feeder
from jaxseg.experiment import experiment
from jaxseg.loop import train
from jaxseg.losses import LOSSES
from jaxseg.networks import parts
from jaxseg.networks.blocks import CONVS
from jaxseg.objectives import losses_by_role
from jaxseg.planning.planned_config import resolve
from jaxseg.step import batch_of

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


class Small:
  """A network of the table, tiny; what is traced of it serves several tests."""

  def __init__(self, name):
    self.row = ROWS[name]
    self.net = networks.NETWORKS[name](classes=3, **self.row.small)

  @functools.cached_property
  def learning(self):
    return learning(self.net, *self.row.sizes[0])


@pytest.fixture(scope="module", params=ROWS)
def small(request):
  """One network after the other, so that all tests of one are made in one process."""
  return Small(request.param)


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


def test_network_keeps_odd_sizes(small):
  net, (first, *others) = small.net, small.row.sizes
  each = {first: small.learning.outputs} | {of: trained_shapes(net, 2, *of, 2)[1] for of in others}
  for size, outputs in each.items():
    stride, margin = net.total_stride(len(size)), net.margin(len(size))
    assert len(stride) == len(margin) == len(size)
    space = tuple(n - 2 * m for n, m in zip(size, margin, strict=True))
    logits = [outputs["logits"], *outputs.get("aux", ())]
    chex.assert_type(logits, jnp.float32)
    chex.assert_equal_shape_suffix(logits, 1)
    chex.assert_equal_rank(logits)
    chex.assert_shape(outputs["logits"], (2, *space, 3))


def odd_case(net, rank):
  """(size of its windows, case of an odd size, how a predictor takes it apart)."""
  stride, margin = net.total_stride(rank), net.margin(rank)
  about, space = {2: (48, (97, 130)), 3: (16, (31, 45, 22))}[rank]
  patch = [-(-(about + 2 * m) // s) * s for s, m in zip(stride, margin, strict=True)]
  image = np.random.default_rng(0).normal(size=(*space, 1)).astype(np.float32)
  case = inference.Case({"image": image, "spacing": np.ones(rank, np.float32)})
  windows = {"patch": patch, "total_stride": stride, "margin": margin, "overlap": 0.0, "batch": 2}
  return patch, image, functools.partial(inference.sliding_window, case=case, **windows)


def test_odd_cases_go_through_the_predictor(small):
  net, rank = small.net, len(small.row.sizes[0])
  patch, image, predict = odd_case(net, rank)
  variables = {name: drawn(tree) for name, tree in shapes(net, 1, *patch, 1)[1].items()}
  apply = jax.jit(lambda inputs: {"logits": net.apply(variables, inputs["image"])["logits"]})
  scores = predict(apply)
  assert scores.shape == (*image.shape[:-1], 3)
  assert np.isfinite(scores).all()
  # the first window alone covers the corner
  corner = (slice(4),) * rank
  before = [*((m, m) for m in net.margin(rank)), (0, 0)]
  padded = np.pad(image, before)[tuple(slice(p) for p in patch)]
  alone = apply({"image": np.stack([padded, padded])})["logits"][0]
  assert_close(scores[corner], alone[corner], atol=1e-5)


@pytest.mark.parametrize(
  ("name", "rank"), [(name, len(size)) for name, row in ROWS.items() for size in row.sizes[1:]]
)
def test_odd_cases_of_another_rank_fit_together(name, rank):
  """Of windows whose voxels are put back where they were; the network itself is only traced."""
  net = Small(name).net
  patch, image, predict = odd_case(net, rank)
  inner = tuple(slice(m, p - m) for m, p in zip(net.margin(rank), patch, strict=True))
  logits = shapes(net, 1, *patch, 1)[0]["logits"]
  assert logits.shape == (1, *(of.stop - of.start for of in inner), 3)
  scores = predict(lambda inputs: {"logits": np.repeat(inputs["image"][:, *inner], 3, -1)})
  assert_close(scores, np.repeat(image, 3, -1), atol=1e-6)


def unexplained(silent, patterns):
  """Those that no pattern matches."""
  return [s for s in silent if not any(fnmatch.fnmatch(s, pattern) for pattern in patterns)]


def test_every_parameter_of_a_network_learns_by_a_program_of_every_platform(small):
  assert not unexplained(silent_parameters(small.learning), small.row.silent)


def test_every_network_has_forward_mode_and_products_with_its_hessian(small):
  gradient, params, _ = small.learning

  def product(params, along):
    return jax.jvp(lambda of: gradient(of)[0], (params,), (along,))[1]

  jax.eval_shape(product, params, params)


def test_every_part_has_a_row():
  tables = {"block": parts.BLOCKS, "attention": parts.ATTENTIONS, "bottleneck": parts.BOTTLENECKS}
  tables |= {"skip": parts.SKIPS, "conv": CONVS}
  names = {(option, name) for option, table in tables.items() for name in table}
  assert {(row.option, row.name) for row in PARTS} == names


@pytest.mark.parametrize("row", PARTS, ids=str)
def test_every_parameter_of_a_part_learns_by_a_program_of_every_platform(row):
  net = networks.UNet(widths=(8, 16), depth=1, decoder_depth=1, **{row.option: row.spec})
  assert not silent_parameters(learning(net, *(14, 10, 6)[: row.rank]))


def test_what_a_package_exports_under_a_submodules_name_is_defined_there():
  for package in (augment, data, inference, losses, methods, metrics, networks):
    submodules = {path.stem for path in pathlib.Path(package.__file__).parent.glob("[a-z]*.py")}
    for name in submodules:
      found, full = getattr(package, name, None), f"{package.__name__}.{name}"
      assert inspect.ismodule(found) or getattr(found, "__module__", full) == full


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory, worker_id):
  """One folder for all of pytest-xdist's processes: real data are prepared once."""
  base = tmp_path_factory.getbasetemp()
  folder = (base if worker_id == "master" else base.parent) / "prepared"
  folder.mkdir(exist_ok=True)
  return folder


def written_as_tfds(folder):
  """The set that the config's docstring writes, of five cases, once in each process."""
  home = folder / f"tfds-{os.getpid()}"
  if not home.exists():
    source = data.SOURCES["phantom"](cases=5)
    data.write_tfds(source, {"train": source.cases[:4], "validation": source.cases[4:]}, home)
  return str(home)


def read(path, folder):
  """The config, on the real data; the test is skipped where they are absent."""
  # configs/auto.py plans from the data
  if "phantom" not in path.stem and not (ROOT / "../shared/data").is_dir():
    pytest.skip("no real data beside the checkout (../shared/data): this config is not tried")
  config = resolve(load_config(str(path)))
  config.data.folder = str(folder)
  if config.data.source.name == "phantom":
    config.data.source.cases = 5
  if config.data.source.name == "tfds":
    config.data.source.data_dir = written_as_tfds(folder)
  return config


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
    assert callable(losses_by_role(config)["loss"])
    used |= set(config["loss"])
  assert used == set(LOSSES)


@pytest.fixture
def at_root(monkeypatch):
  monkeypatch.chdir(ROOT)


def made_tiny(config, stem):
  """The config with two steps of a tiny network on tiny patches."""
  small = {
    "network.widths": (4, 8),
    "network.depth": 1,
    "steps": 2,
    "log_every": 1,
    "evaluate.cases": 1,
    "predictor.overlap": 0.0,
  }
  rank = len(config.data.patch)
  if config.network.name != "unet" and "auto" not in stem:
    small = {name: of for name, of in small.items() if not name.startswith("network.")}
    name = config.network.name
    options = SUPERNETS[name] if name in SUPERNETS else ROWS[name].small
    small |= {f"network.{name}": of for name, of in options.items()}
  if "kernels" in config.network:  # a plan's
    small |= {"network.depth": (1, 1), "network.decoder_depth": (1,)}
    small |= {"network.kernels": ((3,) * rank,) * 2, "network.strides": ((2,) * rank,)}
    small["method.drop_last_head"] = False  # of two stages only the finest has one
  if "warm_up" in config.method:
    small["method.warm_up"] = 1
  small["data.patch"] = (16,) * rank
  small["data.batch"] = 2
  if config.data.source.name == "phantom":
    small["data.source.size"] = (32,) * len(config.data.source.size)
  changed = config.copy_and_resolve_references()
  for name, value in small.items():
    changed.update_from_flattened_dict({name: value})
  return changed


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_config_traces_at_full_size_and_takes_two_real_steps_at_a_tiny_one(
  path, prepared_folder, at_root, tmp_path
):
  assert path.read_text().startswith('"""')
  config = read(path, prepared_folder)
  # the method's first state, its output and a step are traced before the experiment is there
  full = experiment(config)
  feeder = Feeder(full.streams, cache="disk")
  keys = dict.fromkeys(full.streams, jax.random.key(0))
  make = batch_of(full, full.layout.mesh)
  batch = jax.eval_shape(make, feeder.store(), feeder.element(0), keys)
  for name in full.streams:
    of = as_main(full.config, name) if name else full.config
    part = batch[name] if name else batch
    assert part["image"].shape[:-1] == (of["data"]["batch"], *full.patch)
    for field, values in part.items():
      assert field in full.streams or values.dtype == kind(field).dtype
  # what was tried at full size isn't tried again
  run = experiment(made_tiny(config, path.stem), like=full)
  run = run._replace(validation=run.validation[:1], watched=run.validation[:1])
  report = train(run, tmp_path)
  assert report["step"] == 2
  rows = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
  assert {"loss", "learning_rate"} <= next(rows).keys()
  judged = report["validation"]["mean"][run.task.best]
  assert np.isfinite(judged)
  assert run.task.best != "dice" or 0 <= judged <= 1
