"""The rows of benchmarks/gpu.py as a file of `jaxseg benchmark`, and as a table in Markdown."""

import json
import os

# milliseconds of augmentation for a batch of two 128^3 patches, and its share of a step
TARGETS = (15.0, 0.10)


def write(path, machine, rows) -> None:
  """The rows, by a temporary name; see `jaxseg.benchmark.schema`."""
  results = {"format": "jaxseg benchmark", "version": 1, "machine": machine or {}, "rows": rows}
  part = path.with_name(f".{path.name}.part")
  part.write_text(json.dumps(results, indent=1), encoding="utf-8")
  os.replace(part, path)


def _training(row) -> str:
  step = row["training"]["step_seconds"]
  words = [
    f"step {1e3 * step['median']:.1f} ms ({1e3 * step['p10']:.1f} to {1e3 * step['p90']:.1f})",
    f"{row['training']['images_per_second']:.2f} volumes/s",
  ]
  if "sampled_and_augmented_seconds" in row:
    alone = row["sampled_and_augmented_seconds"]["median"]
    words.append(f"sampling and augmentation alone {1e3 * alone:.1f} ms")
  if "memory" in row:
    words.append(f"{row['memory']['compiler']['peak_bytes'] / 2**30:.1f} GiB by the compiler")
  if "peak_memory_bytes" in row:
    words.append(f"{row['peak_memory_bytes'] / 2**30:.1f} GiB at most in use")
  flops = row.get("flops", {})
  if "model_flops_per_second_per_device" in flops:
    words.append(f"{flops['model_flops_per_second_per_device'] / 1e12:.1f} TFLOP/s")
  if "compile_seconds" in row["conditions"]:
    words.append(f"compiled in {row['conditions']['compile_seconds']:.0f} s")
  return "; ".join(words)


def _inference(row) -> str:
  told = row["inference"]
  parts = ", ".join(f"{n.replace('_', ' ')} {s:.2f}" for n, s in told["parts_seconds"].items())
  return (
    f"{told['case_seconds']['median']:.2f} s a case; seconds by part: {parts}; {told['windows']} "
    f"windows, {1e3 * told['network_seconds_per_window']:.1f} ms each"
  )


def _time_to(row) -> str:
  told = row["time_to"]
  if told["not_reached"]:
    return f"{told['result']} (last scores {[run['last_score'] for run in told['runs']]})"
  training, whole = (told[f"mean_{of}"] / 60 for of in ("seconds", "seconds_with_evaluation"))
  return (
    f"{training:.2f} min of training, {whole:.2f} with evaluation, {told['mean_steps']:.0f} steps, "
    f"{len(told['runs'])} seed(s)"
  )


def cell(row) -> str:
  """What a row says."""
  if row["failed"]:
    return row["failed"]
  for name, words in (("time_to", _time_to), ("inference", _inference), ("training", _training)):
    if name in row:
      return words(row)
  return "-"


def markdown(machine, rows, *, tiny: bool = False) -> str:
  kind = machine["device_kind"] if machine else "no device"
  versions = f"jax {machine['versions']['jax']}" if machine else ""
  lines = ["| | |", "|---|---|", f"| device | {kind}, {versions} |"]
  if tiny:
    lines.append("| sizes | toy ones: nothing here says how fast anything is |")
  lines += [f"| {row['label']} | {cell(row)} |" for row in rows]
  lines += [f"| {name} | {text} |" for name, text in comparisons(rows)]
  return "\n".join(lines)


def comparisons(rows) -> list[tuple[str, str]]:
  """What two rows say together."""
  steps = {
    row["label"]: row["training"]["step_seconds"]["median"]
    for row in rows
    if not row["failed"] and "training" in row
  }
  out = []
  for name in ("128, bfloat16", "hippocampus, bfloat16"):
    with_it, without = steps.get(f"{name}, augmented"), steps.get(name)
    if with_it and without:
      share = 1 - without / with_it
      text = f"{100 * share:.0f} %" if share > 0 else "none beyond what the steps differ by"
      out.append((f"{name}: share of augmentation", f"{text} (target {TARGETS[1]:.0%})"))
  for row in rows:
    if row["label"] == "128, bfloat16, augmented" and "sampled_and_augmented_seconds" in row:
      alone = 1e3 * row["sampled_and_augmented_seconds"]["median"]
      out.append(("augmentation of two 128^3 patches", f"{alone:.1f} ms (target {TARGETS[0]:g})"))
  for dtype in ("bfloat16", "float32"):
    ours, theirs = steps.get(f"128, {dtype}"), steps.get(f"128, {dtype}, PyTorch")
    if ours and theirs:
      out.append((f"128, {dtype}: time over PyTorch's", f"{ours / theirs:.2f}"))
  return out
