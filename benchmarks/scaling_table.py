"""docs/scaling.md from the rows of benchmarks/scaling.py and jaxseg.benchmark.projection.

Usage: python benchmarks/scaling_table.py [--overlap 0] [--compute-share 0.4] ... > docs/scaling.md

Traces each network once more for its FLOPs and bytes; needs neither libtpu nor an accelerator.
"""

import argparse
import json
import pathlib
import statistics

import scaling_work
from scaling import OPTIONS

from jaxseg.benchmark import peaks
from jaxseg.benchmark.compiled_for import collectives_text
from jaxseg.benchmark.projection import Assumptions, Slice, Work, step_seconds

ROOT = pathlib.Path(__file__).parents[1]
WIDE = (32, 64, 128, 256, 320, 320)
# name -> (network, patch, patches of a device): sizes at which one trains
SIZES = {
  "2D U-Net": (
    dict(name="unet", widths=(32, 64, 128, 256, 512), norm="instance", dtype="bfloat16"),
    (512, 512),
    12,
  ),
  "2D U-Net, batch norm": (
    dict(name="unet", widths=(32, 64, 128, 256, 512), norm="batch", dtype="bfloat16"),
    (512, 512),
    12,
  ),
  "3D U-Net": (dict(name="plain_conv_unet", widths=WIDE, dtype="bfloat16"), (128, 128, 128), 2),
  "3D ResEnc": (dict(name="resenc_unet", widths=WIDE, dtype="bfloat16"), (128, 128, 128), 2),
}
# of cloud.google.com/tpu/docs/v5e and v5p: ends are joined in 16x16, and in whole cubes of 4x4x4
PODS = {
  "TPU v5 lite": {
    8: Slice((2, 4), False),
    64: Slice((8, 8), False),
    256: Slice((16, 16), True),
    1024: Slice((16, 16), True, 4),
  },
  "TPU v5": {
    8: Slice((2, 2, 2), False),
    64: Slice((4, 4, 4), True),
    256: Slice((4, 8, 8), True),
    1024: Slice((8, 8, 16), True),
  },
}
ALONE = Slice((1,), False)
COUNTS = (8, 64, 256, 1024)
# a norm over devices: mean, then variance, and on the way back both gradients at once
SUMS_OF_A_NORM = 3


def ratio(rows: dict, rank: int) -> str:
  """Memory traffic, as the TPU's compiler counts it, over what products touch at the least.

  The median of the data-parallel rows of that rank, in words.
  """
  ratios = []
  for row in rows.values():
    of = row["options"]
    if "failed" in row or len(of["patch"]) != rank or of["mesh"].get("batch", 1) == 1:
      continue
    work = scaling_work.of_step(of["network"], of["patch"], of["batch"] // of["mesh"]["batch"])
    ratios.append(row["memory_traffic_bytes"] / work["touched_bytes"])
  return f"{statistics.median(ratios):.0f}" if ratios else "an unknown number of"


def compiled_table(rows: dict) -> list[str]:
  out = [
    "| step | chips | patch, batch | dtype | MiB a device | GFLOP | GB moved | collectives | sent, "
    "MB | roofline, ms (bound) |",
    "|---|---|---|---|---|---|---|---|---|---|",
  ]
  for name, row in rows.items():
    of = row["options"]
    size = f"{'x'.join(map(str, of['patch']))}, {of['batch']}"
    head = f"| {name} | {of['target'].removeprefix('tpu:')} | {size} | {of['network']['dtype']} |"
    if "failed" in row:
      out.append(f"{head} {row['failed']} | | | | | |")
      continue
    bound = row["roofline"]
    out.append(
      f"{head} {row['memory']['peak_bytes'] / 2**20:.0f} | {row['flops'] / 1e9:.3g} | "
      f"{row['memory_traffic_bytes'] / 1e9:.3g} | {collectives_text(row['collectives'])} | "
      f"{row['sent_bytes'] / 1e6:.3g} | {1e3 * bound['seconds']:.3g} ({bound['bound']}) |"
    )
  return out


def work_of(name: str, passes: float) -> Work:
  network, patch, batch = SIZES[name]
  of = scaling_work.of_step(network, patch, batch)
  norms = SUMS_OF_A_NORM * of["halos"] if network.get("norm") == "batch" else 0
  return Work(
    flops=of["flops"],
    traffic_bytes=passes * of["touched_bytes"],
    # kernels' gradients are summed as they are computed, in bfloat16
    gradient_bytes=2 * of["parameters"],
    statistics=norms,
    # forward, and the gradient's slabs on the way back
    halos=2 * of["halos"],
    halo_bytes=2 * of["halo_bytes"],
  )


def weak(works: dict[str, Work], assume: Assumptions) -> list[str]:
  """Every device keeps its patches: data parallel."""
  out = [
    "| step | chip | 1 | " + " | ".join(map(str, COUNTS)) + " | at 1024: gradients, statistics |",
    "|---|---|---|" + "---|" * len(COUNTS) + "---|",
  ]
  for name, work in works.items():
    work = work._replace(halos=0, halo_bytes=0.0)
    for kind, pods in PODS.items():
      peak = peaks.of_kind(kind)
      alone = step_seconds(work, ALONE, peak, "bfloat16", assume)
      cells = []
      for count in COUNTS:
        of = step_seconds(work, pods[count], peak, "bfloat16", assume)
        cells.append(f"{1e3 * of['seconds']:.4g} ({alone['seconds'] / of['seconds']:.0%})")
      out.append(
        f"| {name} | {peak.name} | {1e3 * alone['seconds']:.4g} | {' | '.join(cells)} | "
        f"{1e3 * of['gradients']:.3g}, {1e3 * of['statistics']:.3g} |"
      )
  return out


def strong(works: dict[str, Work], assume: Assumptions, batch: int, space: int) -> list[str]:
  """One batch over ever more devices: over its patches, then over `space` slabs of each."""
  out = [
    "| step | chip | " + " | ".join(map(str, COUNTS)) + " | sent at the end |",
    "|---|---|" + "---|" * len(COUNTS) + "---|",
  ]
  for name, work in works.items():
    _, patch, fed = SIZES[name]
    if len(patch) == 2:
      continue
    for kind, pods in PODS.items():
      peak, cells, first, last = peaks.of_kind(kind), [], None, None
      for count in COUNTS:
        if count > batch * space:
          cells.append(f"- ({batch} x {space} = {batch * space} is the end)")
          continue
        slabs, share = max(1, count // batch), batch / count / fed
        each = work._replace(
          flops=work.flops * share,
          traffic_bytes=work.traffic_bytes * share,
          # instance norms are sums along the line of a patch's slabs, there and back
          halos=work.halos + SUMS_OF_A_NORM * (work.halos // 2) * 2 * (slabs - 1)
          if slabs > 1
          else 0,
          # of the patches that a device has a slab of
          halo_bytes=work.halo_bytes / fed if slabs > 1 else 0.0,
        )
        last = step_seconds(each, pods[count], peak, "bfloat16", assume)
        first = first or last
        gain = first["seconds"] / last["seconds"] / (count / COUNTS[0])
        cells.append(f"{1e3 * last['seconds']:.4g} ({gain:.0%})")
      out.append(
        f"| {name} | {peak.name} | {' | '.join(cells)} | gradients {1e3 * last['gradients']:.2g}, "
        f"halos {1e3 * last['halos']:.2g} of {1e3 * last['seconds']:.3g} ms |"
      )
  return out


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  for name, value in Assumptions._field_defaults.items():
    parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
  parser.add_argument("--passes", type=float, default=4.0)
  asked = vars(parser.parse_args())
  passes = asked.pop("passes")
  assume = Assumptions(**asked)
  rows = json.loads((ROOT / "docs" / "scaling.json").read_text(encoding="utf-8"))
  text = (ROOT / "benchmarks" / "scaling_text.md").read_text(encoding="utf-8")
  works = {name: work_of(name, passes) for name in SIZES}
  left = [name for name in OPTIONS if "failed" in rows.get(name, {"failed": "missing"})]
  far = PODS["TPU v5 lite"][1024]
  flat, normed, volume = (
    step_seconds(works[name], far, peaks.of_kind("TPU v5 lite"), "bfloat16", assume)
    for name in ("2D U-Net", "2D U-Net, batch norm", "3D U-Net")
  )
  print(
    text.format(
      compiled="\n".join(compiled_table(rows)),
      weak="\n".join(weak(works, assume)),
      strong="\n".join(strong(works, assume, batch=64, space=4)),
      moved_2d=ratio(rows, 2),
      moved_3d=ratio(rows, 3),
      passes=passes,
      missing=f"Not compiled yet, by the same command: {', '.join(left)}." if left else "",
      gradients_2d=f"{1e3 * flat['gradients']:.2g}",
      gradients_3d=f"{1e3 * volume['gradients']:.2g}",
      statistics_2d=f"{1e3 * normed['statistics']:.2g}",
      statistics_count=works["2D U-Net, batch norm"].statistics,
      sizes="\n".join(
        f"- {name}: {'x'.join(map(str, SIZES[name][1]))}, {SIZES[name][2]} patches a device, "
        f"{work.flops / 1e12:.3g} TFLOP, {work.traffic_bytes / 1e9:.3g} GB of memory traffic, "
        f"{work.gradient_bytes / 1e6:.3g} MB of gradients, {work.statistics} sums of batch norms."
        for name, work in works.items()
      ),
      **assume._asdict(),
    ),
    end="",
  )


if __name__ == "__main__":
  main()
