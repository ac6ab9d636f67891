"""The style of the house as tests: docstrings, options by keyword, key first, files, imports."""

import ast
import inspect
import pathlib
import subprocess
import sys
import types
import warnings

import pytest

from jaxseg import networks
from jaxseg.augment import AUGMENTATIONS
from jaxseg.losses import LOSSES
from jaxseg.metrics import METRICS
from jaxseg.networks import CRITICS, DECODERS, GENERATORS, NETWORKS, blocks

ROOT = pathlib.Path(__file__).parents[1]
TABLES = {
  "losses": LOSSES,
  "metrics": METRICS,
  "augment": AUGMENTATIONS,
  "networks": NETWORKS,
  "critics": CRITICS,
  "generators": GENERATORS,
  "decoders": DECODERS,
}
ENTRIES = [(table, name) for table, entries in TABLES.items() for name in entries]
FILES = sorted(
  path for folder in ("jaxseg", "configs", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
BARE = ("networks", "losses", "metrics", "augment", "batch", "method", "methods", "morphology")
BARE += ("interaction",)
HEAVY = ("tensorflow_datasets", "grain", "nibabel", "SimpleITK", "orbax", "ml_collections")


def documented(found) -> bool:
  """Has a docstring of its own: a dataclass without one gets its signature for one."""
  text = inspect.getdoc(found) or ""
  return len(text) > 40 and not text.startswith(f"{found.__name__}(")


@pytest.mark.parametrize(("table", "name"), ENTRIES)
def test_everything_that_a_config_names_has_a_docstring(table, name):
  assert documented(TABLES[table][name])


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_takes_logits_and_target_and_its_options_by_keyword(name):
  first, second, *options = inspect.signature(LOSSES[name]).parameters.values()
  assert (first.name, second.name) == ("logits", "target")
  assert {option.kind for option in options} <= {inspect.Parameter.KEYWORD_ONLY}


def test_a_key_comes_first():
  found = 0
  for path in (ROOT / "jaxseg" / "augment").glob("*.py"):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
      names = [a.arg for a in node.args.args] if isinstance(node, ast.FunctionDef) else []
      if "key" in names:
        found += 1
        assert names[0] == "key", f"{path}:{node.lineno}: {node.name}({', '.join(names)})"
  assert found > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_small_and_say_what_they_are(path):
  text = path.read_text(encoding="utf-8")
  assert len(text.splitlines()) <= 400
  assert path.name != "utils.py"
  assert text.startswith('"""')


def test_the_contract_and_the_entry_stay_short():
  assert len((ROOT / "jaxseg" / "method.py").read_text(encoding="utf-8").splitlines()) <= 120
  assert len((ROOT / "train.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_the_core_loads_without_the_data_libraries():
  modules = ", ".join(f"jaxseg.{name}" for name in BARE)
  code = f"import sys, {modules}; print([m for m in {HEAVY} if m in sys.modules])"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "[]"


def test_what_users_call_by_itself_is_exported():
  # beside the networks, which a config names
  assert {"ENCODERS", "check_hdc", "prune", "upkern"} < set(networks.__all__)
  assert {"GraphConv", "GraphPool", "graph_unpool", "crop", "paste"} < set(blocks.__all__)
  assert {"DropBlock", "StochasticDepth", "SeparableConv"} < set(blocks.__all__)


@pytest.mark.parametrize("package", [networks, blocks], ids=lambda package: package.__name__)
def test_an_exported_name_exists_and_is_documented(package):
  for name in package.__all__:
    found = getattr(package, name)
    assert not callable(found) or documented(found), name


@pytest.mark.parametrize("kind", [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
def test_what_is_deprecated_fails_a_test_where_ours_calls_it(kind):
  for module in ("jaxseg", "jaxseg.metrics.overlap", __name__):
    with pytest.raises(kind, match="gone in the next version"):
      warnings.warn_explicit("gone in the next version", kind, "file.py", 1, module=module)
  with pytest.warns(kind):
    warnings.warn_explicit("gone in the next version", kind, "file.py", 1, module="a_library.part")


def test_a_deprecated_call_of_a_librarys_function_counts_as_ours(monkeypatch):
  # as libraries warn: with the caller's place
  def old():
    warnings.warn("old", DeprecationWarning, stacklevel=2)

  monkeypatch.setitem(sys.modules, "a_library", types.SimpleNamespace(old=old))
  ours = types.ModuleType("jaxseg.probe")
  exec("import a_library\ndef call(): a_library.old()", ours.__dict__)
  with pytest.raises(DeprecationWarning, match="old"):
    ours.call()


# what they parse comes from no file of JSON: texts of their own, lines of a log, another process
OWN_TEXTS = ("label_spec.py", "data/prepared/preparation.py", "runs/lock.py")
OWN_TEXTS += (
  "processes/agreement.py",
  "processes/meeting.py",
  "benchmark/children.py",
  "benchmark/time_to.py",
)
# other programs' notes beside pictures may be anything
OWN_TEXTS += ("runs/writer.py", "data/formats/picture_spacing.py")
ROUND_TRIPS = ("json.loads(json.dumps(", "json.loads(as_json(", "to_json())")


def test_one_reader_reads_all_json_files():
  """`files.read_json` tells in words, with the path, what is damaged, missing or another kind."""
  for path in sorted((ROOT / "jaxseg").rglob("*.py")):
    where = str(path.relative_to(ROOT / "jaxseg"))
    if where in ("files.py", *OWN_TEXTS):
      continue
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
      if "json.load" in line and not any(part in line for part in ROUND_TRIPS):
        pytest.fail(f"{where}:{number}: {line.strip()}: read it with files.read_json")


PARTICIPLES = {"asked", "chosen", "found", "given", "held", "kept", "made", "marked", "merged"}
PARTICIPLES |= {"parsed", "seen", "shown", "taken", "told", "wanted"}


def test_what_has_a_public_name_is_called_by_a_noun_or_a_verb():
  """Not by what was done to it: `told` says neither what it is nor what it does."""
  for path in sorted((ROOT / "jaxseg").rglob("*.py")):
    assert path.stem not in PARTICIPLES
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
      if isinstance(node, ast.FunctionDef | ast.ClassDef):
        assert node.name.lower() not in PARTICIPLES, f"{path}:{node.lineno}: {node.name}"
