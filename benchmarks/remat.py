"""What config.remat saves: the compiler's memory of a training step, by network and policy.

Usage: python benchmarks/remat.py [--networks unet ...] [--patch 48] [--json FILE]

3D networks of modest widths, one volume, SGD with momentum, cross entropy and Dice, compiled for
CPU with the gradients that GPUs and TPUs use, nothing is run. "work" is the count of operations of
convolutions and matrix products in the traced step, beside the policy "none".
"""

import argparse
import functools
import pathlib
import time

import jax
import jax.numpy as jnp
import optax

from jaxseg import files, losses, networks
from jaxseg.methods.rematerialised import BLOCKS, NONE, PRODUCTS, rematerialised
from jaxseg.methods.supervised import supervised
from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.networks.describe import flops
from jaxseg.planning.peak_memory import of_compiled
from jaxseg.xla_flags import of_step

NETWORKS = {
  "unet": dict(widths=(16, 32, 64), norm="instance", up="transpose"),
  "resenc_unet": dict(widths=(16, 32, 64), depth=(1, 2, 2)),
  "mednext": dict(widths=(16, 32, 64), blocks=2, expansion=2),
  "swin_unetr": dict(features=12, depths=(2, 2), heads=(2, 4), window=4),
  "dense_unet3d": dict(blocks=(3, 4, 6), growth=16, width=32, widths=(16, 32, 32, 64), skips=True),
}


def measured(name: str, patch: int, policy: str) -> dict:
  """{"network", "policy", "temporaries", "peak", "flops"}, bytes and operations."""
  loss = losses.weighted_sum(
    {
      "cross_entropy": (1.0, losses.LOSSES["cross_entropy"]),
      "dice": (1.0, functools.partial(losses.LOSSES["dice"], batch=True)),
    }
  )
  net = networks.NETWORKS[name](classes=3, **NETWORKS[name])
  method = rematerialised(supervised(net, loss, optax.sgd(0.01, momentum=0.9)), policy=policy)
  batch = {
    "image": jax.ShapeDtypeStruct((1, *(patch,) * 3, 1), jnp.float32),
    "label": jax.ShapeDtypeStruct((1, *(patch,) * 3), jnp.int32),
  }
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(method.init, key, batch)
  start = time.monotonic()
  with cpu_gradients(False):
    step = jax.jit(method.train_step, donate_argnums=0, compiler_options=of_step(policy, "cpu"))
    told = of_compiled(step.lower(state, batch, key).compile())
    work = flops(method.train_step, state, batch, key)
  return {
    "network": name,
    "policy": policy,
    "temporaries": told.temporaries,
    "peak": told.peak,
    "flops": work,
    "compile_seconds": time.monotonic() - start,
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
  parser.add_argument("--patch", type=int, default=48)
  parser.add_argument("--json", type=pathlib.Path, help="writes the rows there")
  options = parser.parse_args()
  rows = []
  for name in options.networks:
    for policy in (NONE, PRODUCTS, BLOCKS):
      rows.append(measured(name, options.patch, policy))
      row, first = rows[-1], rows[-1 - (NONE, PRODUCTS, BLOCKS).index(policy)]
      print(
        f"{name:<14} {policy:<9} temporaries {row['temporaries'] / 2**20:7.1f} MiB, "
        f"{row['temporaries'] / first['temporaries']:.2f}; work {row['flops'] / first['flops']:.2f}"
        f"; compiled in {row['compile_seconds']:.0f} s",
        flush=True,
      )
  if options.json:
    files.write_json(options.json, rows)


if __name__ == "__main__":
  main()
