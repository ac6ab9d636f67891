"""What --compile-for names, and what it refuses before any work."""

import importlib.util
import subprocess
import sys

import pytest

from jaxseg.benchmark import peaks, topologies


def test_a_target_is_read_and_said_as_it_was_written():
  assert topologies.parse("tpu:v5e:2x4") == ("tpu", "v5e", (2, 4))
  assert topologies.parse("tpu:v5p:4x4x4").name == "tpu:v5p:4x4x4"
  assert topologies.parse("cuda") == ("cuda", "", ())
  assert topologies.parse("cuda").name == "cuda"


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("tpu", "--compile-for tpu: no target; expected one like tpu:v5e:2x4"),
    ("rocm", "no target"),
    ("gpu:v5e:2x4", "no target"),
    ("cuda:8", "no target"),
    ("tpu:v9:2x2", "the TPU generation 'v9' is unknown; choices: v5e, v5p, v6e"),
    ("tpu:v5e:8", "1 axes, but v5e is a torus of 2; expected .* tpu:v5e:4x4"),
    ("tpu:v5e:2x4x1", "3 axes, but v5e is a torus of 2"),
    ("tpu:v5p:2x2", "2 axes, but v5p is a torus of 3; expected .* tpu:v5p:4x4x4"),
    ("tpu:v5e:2xfour", "'2xfour' is no topology"),
    ("tpu:v5e:0x4", "'0x4' is no topology"),
    ("tpu:v5e:-2x4", "'-2x4' is no topology"),
    ("tpu:v5e:", "'' is no topology"),
    ("tpu:v5e:32x32", r"no slice of v5e that large; expected 16x16 at most \(256 chips\)"),
    ("tpu:v5p:32x1x1", "no slice of v5p that large"),
  ],
)
def test_a_target_that_there_is_not_is_refused_in_a_sentence(text, words):
  with pytest.raises(ValueError, match=words) as refused:
    topologies.parse(text)
  assert "\n" not in str(refused.value)
  assert text in str(refused.value)


def test_a_missing_compiler_is_told(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match=r"tpu:v5e:2x4: needs libtpu.*pip install libtpu"):
    topologies.devices(topologies.parse("tpu:v5e:2x4"))
  topologies.check_compiler(topologies.parse("cuda"))


def test_every_generation_has_peaks():
  names = {peak.name for peak in peaks.PEAKS}
  assert {f"TPU {name}" for name in topologies.GENERATIONS} <= names


TRIAL = """
import jax, jax.numpy as jnp
from jaxseg.benchmark import collectives, peaks, topologies
devices = topologies.devices(topologies.parse("tpu:v5e:2x4"))
assert len(devices) == 8 and peaks.of_kind(devices[0].device_kind).name == "TPU v5e"
mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)
split, whole = jax.NamedSharding(mesh, jax.P("x")), jax.NamedSharding(mesh, jax.P())
summed = jax.jit(lambda x: x.sum(0), in_shardings=split, out_shardings=whole)
x = jax.ShapeDtypeStruct((16, 128), jnp.float32)
lowered = summed.trace(x).lower(lowering_platforms=("tpu",))
text = lowered.compile().as_text()
print([(of.kind, of.bytes, of.devices) for of in collectives.read(text, 8)])
try:
  topologies.devices(topologies.parse("tpu:v5e:3x5"))
except ValueError as error:
  print(error)
"""


def test_libtpu_compiles_a_sum_over_chips_that_are_not_there(monkeypatch):
  if importlib.util.find_spec("libtpu") is None:
    pytest.skip("libtpu is not installed: nothing is compiled for a TPU")
  for name, value in topologies.ENVIRONMENT.items():
    monkeypatch.setenv(name, value)
  command = [sys.executable, "-c", TRIAL]
  ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
  assert ended.returncode == 0, ended.stderr[-2000:]
  first, second = ended.stdout.strip().splitlines()
  assert first == "[('all-reduce', 512, 8)]"
  assert second.startswith("--compile-for tpu:v5e:3x5: libtpu knows no such topology (INVALID")
