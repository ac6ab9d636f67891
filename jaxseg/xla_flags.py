"""Flags of the compiler that jaxseg wants, set before JAX starts its first backend."""

import os

# XLA's CPU compiler gives convolutions, products and sums to YNNPACK, whose convolution is slower
# than XLA's own (32 channels at 256x256: 126 against 37 ms) and whose sums are faster (2 against
# 15 ms). A U-Net's step takes three quarters of the time with its sums alone (docs/benchmarks.md).
CPU = "--xla_cpu_experimental_ynn_fusion_type=reduce"
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def add(flag: str) -> None:
  """Puts `--name=value` into XLA_FLAGS of this process and its children.

  What the user has set under that name stays. Without effect once JAX has started a backend.
  """
  given, name = os.environ.get("XLA_FLAGS", ""), flag.split("=")[0]
  if not any(word.split("=")[0] == name for word in given.split()):
    os.environ["XLA_FLAGS"] = f"{given} {flag}".strip()
