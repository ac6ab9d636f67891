"""A step for accelerators that are not there: what is said of it, and what is refused before."""

import re

import jax
import pytest
import tiny

from jaxseg.benchmark import compiled_for, machine, program, table, topologies
from jaxseg.compose import complete
from jaxseg.verbs import benchmark


def test_for_cuda_a_step_is_lowered_and_that_is_what_is_said():
  made = program.of_experiment(tiny.experiment())
  values = compiled_for.measure(made, options={"compile_for": "cuda"})
  assert (values["target"], values["compiled"]) == ("cuda", False)
  assert values["stablehlo_bytes"] > 10_000
  assert "roofline" not in values
  text = "\n".join(f"{name}: {text}" for name, text in compiled_for.lines(values))
  assert "lowered, not compiled" in text
  assert "roofline" not in text


class Compiled:
  """What XLA says of a program, with figures that are known."""

  class Memory:
    argument_size_in_bytes, output_size_in_bytes, temp_size_in_bytes = 300, 200, 700
    alias_size_in_bytes, generated_code_size_in_bytes = 150, 50

  def as_text(self):
    return "  %a = f32[250]{0} all-reduce(%b), channel_id=1, replica_groups={{0,1}}"

  def memory_analysis(self):
    return self.Memory

  def cost_analysis(self):
    return {"flops": 197e9, "bytes accessed": 819e6, "optimal_seconds": -3.0}


def test_figures_of_a_compiled_step_and_their_roofline():
  of = compiled_for.of_compiled(Compiled(), "TPU v5 lite", devices=2, dtype="bfloat16")
  assert of["memory"]["peak_bytes"] == 300 + 200 + 700 - 150
  assert of["collectives"]["all-reduce"]["bytes"] == 1000
  assert of["sent_bytes"] == 1000
  # 197 GFLOP at 197 TFLOP/s, 819 MB at 819 GB/s, 1000 bytes at 200 GB/s
  bound = of["roofline"]
  assert bound["compute_seconds"] == pytest.approx(1e-3)
  assert bound["memory_seconds"] == pytest.approx(1e-3)
  assert bound["links_seconds"] == pytest.approx(5e-9)
  values = {"target": "tpu:v5e:1x2", "compiled": True, "compile_seconds": 9.0} | of
  lines = dict(compiled_for.lines({"stablehlo_bytes": 2**20, **values}))
  assert lines["collectives"] == "1 all-reduce (0.000954 MiB)"
  assert lines["roofline"].startswith("1 ms by ")
  assert "-3" not in "".join(lines.values())
  rows = [
    {"label": "one", "failed": None, "compiled_for": values},
    {"label": "two", "failed": "no room"},
  ]
  shown = table.show({"machine": machine.describe(), "rows": rows}).splitlines()
  assert shown[-2].split() == [
    "one",
    "tpu:v5e:1x2",
    "0.001001",
    "197",
    "0.819",
    "0.001",
    "1",
    shown[-2].split()[-1],
  ]
  assert shown[-1] == "two  failed: no room"


def test_without_known_peaks_no_roofline_is_said():
  of = compiled_for.of_compiled(Compiled(), "TPU v99", devices=2, dtype="bfloat16")
  assert "roofline" not in of
  values = {"target": "tpu:v99", "compiled": True, "compile_seconds": 9.0, "stablehlo_bytes": 1}
  assert dict(compiled_for.lines(values | of))["roofline"].startswith("none: the peaks of TPU v99")


def test_devices_that_do_not_divide_the_batch_are_refused(monkeypatch):
  monkeypatch.setattr(topologies, "devices", lambda target: list(range(8)))
  config = complete(tiny.experiment(**{"data.batch": 4}).config)
  monkeypatch.setattr(jax, "make_mesh", lambda sizes, *_, devices, **__: Mesh(devices))
  with pytest.raises(ValueError, match=r"tpu:v5e:2x4: config\.data\.batch=4 uses 4 of 8 devices"):
    compiled_for.devices(config, "tpu:v5e:2x4")
  config["mesh"] = {**config["mesh"], "batch": 8}
  with pytest.raises(ValueError, match=r"config\.data\.batch: 4 cannot be split over the 8"):
    compiled_for.devices(config, "tpu:v5e:2x4")


class Mesh:
  """As much of a mesh as is asked of devices that are numbers."""

  def __init__(self, devices):
    self.size = len(devices)


@pytest.mark.parametrize(
  ("words", "told"),
  [
    (["--compile-for", "tpu:v9:2x2"], r"the TPU generation 'v9' is unknown"),
    (["--compile-for", "cuda", "--parts", "training"], r"no step runs there; leave --parts out"),
    (["--parts", "compiled_for"], r"invalid choice: 'compiled_for'"),
    (["--compile-effort", "-1"], r"--compile-effort: .* --compile-for"),
    (["--compile-for", "tpu:v5e:2x4", "--compile-effort", "3"], r"--compile-effort: 3; .* -1 to 1"),
  ],
)
def test_what_cannot_be_compiled_for_is_refused_in_a_sentence(words, told, capsys):
  with pytest.raises(SystemExit) as ended:
    benchmark.main(["--config=configs/unet_phantom2d.py", *words])
  said = f"{ended.value} {capsys.readouterr().err}"
  assert re.search(told, said)
