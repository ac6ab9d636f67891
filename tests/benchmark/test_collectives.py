"""Collectives in a program's text: counts, bytes and groups of lines whose values are known."""

import jax
import numpy as np
import pytest

from jaxseg.benchmark import collectives

GROUPS = "{{0,1,2,3},{4,5,6,7}}"
# as XLA writes them for TPUs, GPUs and CPUs; what comes after the operands is told by keywords
TEXT = "\n".join(
  [
    "ENTRY %main {",
    "  %all-reduce.64 = (bf16[3,3,32,16]{2,3,1,0:T(8,128)(2,1)S(1)}, bf16[1,1,16,4]{2,3,1,0}, "
    "/*index=2*/f32[]{:T(128)}) all-reduce(%a, %b, /*index=2*/%c), channel_id=56, "
    "replica_groups=mesh['axis_0'=8,'axis_1'=4] {'axis_0'}, to_apply=%add, "
    'metadata={op_name="jit(train)/up1/conv/reduce_sum" stack_frame_id=3}',
    f"  %ar = f32[16]{{0}} all-reduce-start(%d), channel_id=3, replica_groups={GROUPS}",
    "  %ard = f32[16]{0} all-reduce-done(%ar)",
    "  %ag = (f32[4,8]{1,0}, f32[32,8]{1,0}) all-gather-start(%e), channel_id=7, "
    "replica_groups=[4,8]<=[32], dimensions={0}",
    "  %agd = f32[32,8]{1,0} all-gather-done(%ag)",
    "  %rs = f32[2,8]{1,0} reduce-scatter(%f), channel_id=8, "
    "replica_groups=[8,4]<=[4,8]T(1,0), dimensions={0}",
    "  %cp = (f32[1,1,64]{2,1,0}, f32[1,1,64]{2,1,0}, u32[]{:S(2)}, u32[]{:S(2)}) "
    "collective-permute-start(%g), channel_id=9, source_target_pairs={{0,1},{1,2}}",
    "  %cpd = f32[1,1,64]{2,1,0} collective-permute-done(%cp)",
    "  %cp2 = pred[10]{0} collective-permute(%g), channel_id=10, source_target_pairs={{0,1}}",
    "  %aa = (s8[5]{0}, s8[5]{0}) all-to-all(%h, %i), channel_id=11, replica_groups={{0,1}}",
    f"  %again = f32[16]{{0}} all-reduce(%j), channel_id=3, replica_groups={GROUPS}",
    "  %whole = s32[3]{0} all-reduce(%k), channel_id=12, replica_groups={}, to_apply=%add",
    "  %fusion = f32[16]{0} fusion(%ar), kind=kLoop, calls=%all-reduce_fusion",
    "}",
  ]
)


def test_kinds_bytes_and_groups_of_every_form_of_a_line():
  read = collectives.read(TEXT, devices=32)
  assert [(of.kind, of.bytes, of.devices) for of in read] == [
    ("all-reduce", 2 * 3 * 3 * 32 * 16 + 2 * 16 * 4 + 4, 8),
    ("all-reduce", 64, 4),
    ("all-gather", 4 * 32 * 8, 8),
    ("reduce-scatter", 4 * 4 * 2 * 8, 4),
    ("collective-permute", 4 * 64, 2),
    ("collective-permute", 10, 2),
    ("all-to-all", 10, 2),
    ("all-reduce", 12, 32),
  ]
  assert read[0].shapes == (("bf16", (3, 3, 32, 16)), ("bf16", (1, 1, 16, 4)), ("f32", ()))
  assert read[0].name == "jit(train)/up1/conv/reduce_sum"
  assert read[1].name == ""


def test_the_summary_adds_up_by_kind_and_group():
  out = collectives.summary(collectives.read(TEXT, devices=32))
  assert out["all-reduce"] == {
    "count": 3,
    "bytes": 9348 + 64 + 12,
    "arrays": 5,
    "groups": {"8": 9348, "4": 64, "32": 12},
  }
  assert out["collective-permute"] == {
    "count": 2,
    "bytes": 266,
    "arrays": 2,
    "groups": {"2": 266},
  }
  assert list(out) == list(collectives.KINDS)
  assert collectives.summary([]) == {}


def test_a_program_that_xla_compiles_here_has_the_collectives_that_it_must_have():
  if jax.device_count() < 2:
    pytest.skip("one device: nothing is sent")
  mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
  split, whole = (jax.NamedSharding(mesh, jax.P(*of)) for of in (("x",), ()))
  x = jax.ShapeDtypeStruct((8, 5), np.float32)

  def compiled(function, out):
    jitted = jax.jit(function, in_shardings=split, out_shardings=out)
    return collectives.read(jitted.lower(x).compile().as_text(), devices=2)

  (summed,) = compiled(lambda x: x.sum(0), whole)
  assert (summed.kind, summed.bytes, summed.devices) == ("all-reduce", 4 * 5, 2)
  (gathered,) = compiled(lambda x: x + 1, whole)
  assert (gathered.kind, gathered.bytes, gathered.devices) == ("all-gather", 4 * 8 * 5, 2)
  assert compiled(lambda x: x + 1, split) == []
