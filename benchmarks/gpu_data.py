"""One fold of MSD hippocampus in one small file, for benchmarks/gpu.py on a bare machine.

Usage: python benchmarks/gpu_data.py [--data ../shared/data/msd_hippocampus]
         [--output hippocampus.npz]

Volumes are normalised as nnU-Net does and lie one after the other: "image" float16 and "label"
uint8, flat; "shape" (cases, 3); "spacing" (cases, 3); "training" and "validation", indices.
"""

import argparse
import pathlib

import numpy as np

from jaxseg import data, files
from jaxseg.data.splits import kfold

ROOT = pathlib.Path(__file__).parents[1]


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", default=str(ROOT.parent / "shared" / "data" / "msd_hippocampus"))
  parser.add_argument("--output", type=pathlib.Path, default=ROOT / "hippocampus.npz")
  wanted = parser.parse_args()
  source = data.SOURCES["nnunet_raw"](path=wanted.data)
  prepared = data.prepare(source, cache_dir=ROOT / "prepared")
  training, validation = kfold(source.cases, fold=0)
  place = {name: i for i, name in enumerate(prepared.names)}
  samples = [prepared.load(i) for i in range(len(prepared.names))]
  with files.replacing(wanted.output) as temporary, open(temporary, "wb") as file:
    np.savez_compressed(
      file,
      image=np.concatenate([s["image"].astype(np.float16).ravel() for s in samples]),
      label=np.concatenate([s["label"].astype(np.uint8).ravel() for s in samples]),
      shape=np.array([s["label"].shape for s in samples], np.int32),
      spacing=np.array([s["spacing"] for s in samples], np.float32),
      training=np.array([place[name] for name in training], np.int32),
      validation=np.array([place[name] for name in validation], np.int32),
    )
  print(f"{wanted.output}: {len(samples)} cases, {wanted.output.stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
  main()
