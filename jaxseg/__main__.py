"""python -m jaxseg VERB ...: train, predict, evaluate, export, describe."""

import importlib
import sys

VERBS = {
  "train": "trains what a config names, in a run folder (the same as train.py)",
  "predict": "segments images with a trained run",
  "evaluate": "scores a folder of predictions against a folder of labels, or compares two",
  "export": "writes a config's cases as a folder in nnU-Net's raw format",
  "describe": "layers, parameters, FLOPs and memory of a config's network",
}


def main() -> None:
  """Runs the verb named first on the command line."""
  if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
    rows = "\n".join(f"  {verb:<10}{what}" for verb, what in VERBS.items())
    print(f"usage: jaxseg VERB [options]\n\n{rows}\n\njaxseg VERB --help tells its options.")
    return
  verb, arguments = sys.argv[1], sys.argv[2:]
  if verb not in VERBS:
    sys.exit(f"jaxseg: no verb '{verb}'; choices: {', '.join(VERBS)}.")
  importlib.import_module(f"jaxseg.verbs.{verb}").main(arguments)


if __name__ == "__main__":
  main()
