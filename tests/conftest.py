"""CPU with two fake devices, strict numerics, quick compiles, a persistent compilation cache."""

import gc
import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)
os.environ.setdefault(
  "JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).parent / ".jax_cache")
)
# compiles without XLA's optimisations, in half the time; the processes that tests start inherit it
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# workers, and the processes that tests start, share their programs: small ones are compiled most
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.01")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

DATA = pathlib.Path(
  os.environ.get("JAXSEG_DATA", pathlib.Path(__file__).resolve().parents[2] / "shared" / "data")
)


def pytest_addoption(parser):
  parser.addoption("--every", type=int, default=1, help="run every Nth test of each file")


def pytest_ignore_collect(collection_path, config):
  """`-m bits` imports the files alone that have such tests: the others take most of the time."""
  if config.option.markexpr == "bits" and collection_path.suffix == ".py":
    return "mark.bits" not in collection_path.read_text(encoding="utf-8") or None
  return None


@pytest.hookimpl(trylast=True)  # after -m has chosen
def pytest_collection_modifyitems(config, items):
  """`--every=N`: the first test of each file, and every Nth after it."""
  step, seen, kept = config.getoption("every"), {}, []
  for item in items:
    number = seen[item.path] = seen.get(item.path, -1) + 1
    if number % step == 0:
      kept.append(item)
  config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
  items[:] = kept


def pytest_collection_finish(session):
  """What was imported and collected stays: looking through it again and again takes the time."""
  gc.collect()
  gc.freeze()
  gc.set_threshold(50_000, 20, 50)


@pytest.fixture
def real_data():
  """The folder of real data sets; the test is skipped, in words, where it is absent."""
  if not DATA.is_dir():
    pytest.skip(f"no real data at {DATA}: set JAXSEG_DATA to run this test")
  return DATA


@pytest.fixture(autouse=True, scope="module")
def small_process():
  """Forgets the compiled programs of a file: thousands of them slow a process down."""
  yield
  jax.clear_caches()
