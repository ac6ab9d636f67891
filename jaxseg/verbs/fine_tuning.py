"""The options of verbs whose answers come from networks that are fine-tuned on the scan."""

import argparse

from jaxseg.config.ranges import COUNT, POSITIVE
from jaxseg.runs.fine_tuned import Tuning
from jaxseg.verbs.arguments import number


def add_options(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--fine-tune",
    type=number(int, COUNT),
    metavar="STEPS",
    help="before each answer the network is fine-tuned on the scan by what is marked, from its "
    "trained weights: so many steps in each of four rounds (BIFSeg: 20). Runs of any method take "
    "points and strokes so",
  )
  parser.add_argument(
    "--fine-tune-rate",
    type=number(float, POSITIVE),
    default=Tuning().rate,
    metavar="RATE",
    help="of these steps; default: 0.01",
  )
  parser.add_argument(
    "--fine-tune-layers",
    nargs="+",
    default=Tuning().layers,
    metavar="PATH",
    help="patterns of the parameters that learn so; default: head*",
  )


def tuning_of(wanted: argparse.Namespace) -> Tuning | None:
  """What the options say, None without --fine-tune; ValueError for those without effect."""
  if wanted.fine_tune is not None:
    return Tuning(wanted.fine_tune, wanted.fine_tune_rate, tuple(wanted.fine_tune_layers))
  for option, usual in (("rate", Tuning().rate), ("layers", Tuning().layers)):
    if getattr(wanted, f"fine_tune_{option}") != usual:
      raise ValueError(f"--fine-tune-{option}: is of --fine-tune; give that, too, or leave it out.")
  return None
