"""What jaxseg wants of the compiler, set before JAX is imported or starts its first backend."""

import os
import pathlib

# XLA's CPU compiler gives convolutions, products and sums to YNNPACK, whose convolution is slower
# than XLA's own (32 channels at 256x256: 126 against 37 ms) and whose sums are faster (2 against
# 15 ms). A U-Net's step takes three quarters of the time with its sums alone (docs/benchmarks.md).
CPU = "--xla_cpu_experimental_ynn_fusion_type=reduce"
# LLVM's unrolling of loops is a fifth of the seconds that a U-Net's step takes to compile on a CPU;
# the step without it is as fast (docs/benchmarks.md).
CPU_LOOPS = "--xla_backend_extra_options=xla_cpu_disable_loop_unrolling=true"
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
_CACHE = "JAX_COMPILATION_CACHE_DIR"


def add(flag: str) -> None:
  """Puts `--name=value` into XLA_FLAGS of this process and its children.

  What the user has set under that name stays. Without effect once JAX has started a backend.
  """
  given, name = os.environ.get("XLA_FLAGS", ""), flag.split("=")[0]
  if not any(word.split("=")[0] == name for word in given.split()):
    os.environ["XLA_FLAGS"] = f"{given} {flag}".strip()


def keep_programs() -> None:
  """Programs that took a second to compile are kept in the user's cache, for the next process.

  What the user has set stays; an empty JAX_COMPILATION_CACHE_DIR keeps nothing, and so does a home
  that cannot be written. Without effect once JAX is imported.
  """
  home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
  there = next((place for place in (home, *home.parents) if place.exists()), home)
  # JAX would warn of every program
  if _CACHE not in os.environ and home.is_absolute() and os.access(there, os.W_OK | os.X_OK):
    os.environ[_CACHE] = str(home / "jaxseg" / "xla")


def of_one_call(platform: str) -> dict[str, int] | None:
  """The compiler's options for a program that runs once, for `jax.jit`: little is optimised.

  On a CPU the initial weights take half the time to compile, and 80 ns more a weight to draw.
  """
  return {"xla_backend_optimization_level": 0} if platform == "cpu" else None


def of_step(remat: str, platform: str) -> dict[str, str] | None:
  """The compiler's options for a training step of `config.remat`, for `jax.jit`.

  XLA's CPU compiler drops the barriers between a value and its second computation early, then finds
  the two to be the same and keeps the first after all.
  """
  kept = remat != "none" and platform == "cpu"
  return {"xla_disable_hlo_passes": "cse_barrier_expander"} if kept else None
