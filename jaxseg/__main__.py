"""python -m jaxseg VERB ...: plan, train, predict, evaluate and the others of `VERBS`."""

import importlib
import os
import sys

from jaxseg import xla_flags
from jaxseg.build import suggestion
from jaxseg.verbs.arguments import warn_in_words

VERBS = {
  "plan": "looks at a folder of labelled scans and plans spacing, patch, batch and network",
  "train": "trains what a config names, in a run folder (the same as train.py)",
  "submit": "trains folds and settings as jobs of a cluster (Slurm, or this machine), by submitit",
  "search": "tries networks, losses or any fields of a config, and tells the best; resumable",
  "augment": "writes a picture sheet of what a config's augmentation does to its data",
  "predict": "segments images with a trained run",
  "serve": "a page to segment scans by clicks, and MONAI Label's REST API, for trained runs",
  "interact": "segments with clicks, strokes and boxes: plays a file of them, or simulates a user",
  "explain": "maps of why a run said so: saliency, CAM, occlusion, attention, uncertainty",
  "find-best": "the best configuration or pair of a cross-validation, with post-processing",
  "report": "tables and a page with pictures of a run, or of the folds of a cross-validation",
  "judge-synthetic": "compares made cases with real ones: diversity, likeness, copies, with a page",
  "evaluate": "scores a folder of predictions against a folder of labels, or compares two",
  "evaluate-subsets": "scores a run with every subset of its channels",
  "import-model": "makes run folders of a model that nnU-Net trained",
  "convert": "writes a config's cases in nnU-Net's raw format, or as a set of TFDS",
  "export-model": "writes a trained run as one file for other programs: nnU-Net, StableHLO, ONNX",
  "derive": "the architecture that a search chose, as JSON for a config and as a drawing",
  "describe": "layers, parameters, FLOPs and memory of a config's network",
  "benchmark": "step time, speed, compile time, FLOPs and memory of a config, or of a sweep",
}


def main() -> None:
  """Runs the verb named first on the command line."""
  if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
    rows = "\n".join(f"  {verb:<18}{what}" for verb, what in VERBS.items())
    print(f"usage: jaxseg VERB [options]\n\n{rows}\n\njaxseg VERB --help tells its options.")
    return
  verb, arguments = sys.argv[1], sys.argv[2:]
  if verb not in VERBS:
    sys.exit(f"jaxseg: no verb '{verb}'{suggestion(verb, VERBS)}; choices: {', '.join(VERBS)}.")
  xla_flags.keep_programs()
  warn_in_words()
  try:
    importlib.import_module(f"jaxseg.verbs.{verb.replace('-', '_')}").main(arguments)
    sys.stdout.flush()
  except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


if __name__ == "__main__":
  main()
