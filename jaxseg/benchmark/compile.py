"""How long the training step takes to compile, without a stored program and with one."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

METHOD = (
  "cold: an empty persistent cache, the entry's writing included; warm: the same again after "
  "jax.clear_caches(), from that entry"
)


@contextlib.contextmanager
def _cache_in(folder: str) -> Iterator[None]:
  """JAX's persistent cache is the one in a folder, and takes every program."""
  names = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
    "jax_enable_compilation_cache",
  )
  before = {name: getattr(jax.config, name) for name in names}
  try:
    for name, value in zip(names, (folder, 0.0, 0, True), strict=True):
      jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
  finally:
    for name, value in before.items():
      jax.config.update(name, value)
    compilation_cache.reset_cache()


def _timed(program) -> tuple[dict[str, float], Any]:
  shapes = program.shapes()
  marks = [time.perf_counter()]
  traced = program.train.trace(*shapes)
  marks.append(time.perf_counter())
  lowered = traced.lower()
  marks.append(time.perf_counter())
  compiled = lowered.compile()
  marks.append(time.perf_counter())
  names = ("trace_seconds", "lower_seconds", "compile_seconds")
  return {n: b - a for n, a, b in zip(names, marks, marks[1:], strict=False)}, compiled


def measure(program, *, options) -> dict[str, Any]:
  """Traces, lowers and compiles the step twice; the program keeps the first outcome."""
  del options
  program.say("compiling the step, cold")
  with tempfile.TemporaryDirectory() as folder, _cache_in(folder):
    cold, program.step = _timed(program)
    jax.clear_caches()
    program.say("compiling the step, warm")
    warm, _ = _timed(program)
  return {"cold": cold, "warm": warm, "method": METHOD}


def lines(values) -> list[tuple[str, str]]:
  def text(of):
    total = sum(of.values())
    return (
      f"{total:.2f} s (trace {of['trace_seconds']:.2f}, lower {of['lower_seconds']:.2f}, "
      f"compile {of['compile_seconds']:.2f})"
    )

  return [("compile, cold", text(values["cold"])), ("compile, warm", text(values["warm"]))]
