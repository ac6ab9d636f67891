"""judge-synthetic: how good the cases are that two runs make, as numbers and a page."""

import json
import pathlib
import sys

from jaxseg import files
from jaxseg.config.ranges import COUNT, FROM_0, SEED
from jaxseg.data import synthetic_cases
from jaxseg.data.sources.synthetic import TRAINING
from jaxseg.evaluation.reporting import as_json
from jaxseg.evaluation.synthetic import Judged, judge
from jaxseg.report.synthetic_page import page
from jaxseg.runs.makers import KINDS
from jaxseg.verbs.arguments import Parser, check_folder, number

PAGE, NUMBERS = "synthetic.html", "synthetic.json"


def _parser() -> Parser:
  parser = Parser(
    prog="jaxseg judge-synthetic",
    description="Makes cases with two runs, and compares them with those that the run of images "
    "was trained on: diversity, areas of the classes, features, whether critics can tell the two "
    f"kinds, and whether one is a copy of a training case. Writes {PAGE} and {NUMBERS}.",
  )
  add = parser.add_argument
  add(
    "--masks",
    required=True,
    metavar="RUN",
    help=f"run folder of mask_gan or mask_vae, or {TRAINING}: turned label maps of training cases",
  )
  add("--images", required=True, metavar="RUN", help="run folder of pix2pix, or one like it")
  add("--encoder", type=pathlib.Path, metavar="RUN", help="a run that segments: its features")
  add("--output", required=True, type=pathlib.Path, help="folder to write")
  add("--cases", type=number(int, COUNT), default=64, help="how many are made; default: 64")
  add("--seed", type=number(int, SEED), default=0, help="of the cases; default: 0")
  add(
    "--copies",
    type=number(int, COUNT),
    default=16,
    help="of how many the nearest training case is looked for; default: 16",
  )
  add(
    "--critic-steps",
    type=number(int, FROM_0),
    default=300,
    help="of the training of a new critic; default: 300",
  )
  add("--checkpoint", choices=tuple(KINDS), default="latest", help="default: latest")
  return parser


def main(arguments: list[str]) -> None:
  options = _parser().parse_args(arguments)
  try:
    check_folder(options.output, "--output")
    if options.cases < 4:
      raise ValueError(f"--cases {options.cases}: too few to compare; expected 4 or more.")
    judged = _judged(options)
    folder = files.writable_folder(options.output, "--output")
    facts = {
      name: str(value) for name, value in vars(options).items() if name != "output" and value
    }
    title = f"Made cases: {options.masks} and {options.images}"
    files.write_text(folder / PAGE, page(judged, title, facts))
    files.write_json(folder / NUMBERS, json.loads(as_json(judged.numbers)))
  except (ValueError, OSError) as error:
    sys.exit(f"judge-synthetic: {_of_options(str(error))}")
  print(summary(judged))
  print(f"Page: {folder / PAGE}")


def _judged(options) -> Judged:
  source = synthetic_cases(
    options.masks,
    options.images,
    cases=options.cases,
    seed=options.seed,
    checkpoint=options.checkpoint,
  )
  return judge(
    source,
    pathlib.Path(options.images),
    encoder=options.encoder,
    checkpoint=options.checkpoint,
    copies=options.copies,
    steps=options.critic_steps,
    seed=options.seed,
    say=print,
  )


def _of_options(text: str) -> str:
  """What the source says of its fields, of this verb's options."""
  return text.replace("config.data.source.", "--")


def summary(judged: Judged) -> str:
  """The numbers in some lines."""
  of, dice, copies = (judged.numbers[name] for name in ("verdict", "diversity", "copies"))
  lines = [
    f"A new critic is right about {100 * of['new_critic']['pairs']:.0f} % of the pairs that it has "
    "not seen (50 %: it cannot tell)."
  ]
  if "own_critic" in of:
    lines.append(
      f"The critic that the images were trained against: {100 * of['own_critic']['pairs']:.0f} %."
    )
  if "pairwise_dice_made" in dice:
    lines.append(
      f"Dice of pairs of label maps: {dice['pairwise_dice_made']:.3f}, of real ones "
      f"{dice.get('pairwise_dice_training', float('nan')):.3f}; {dice['distinct']} of "
      f"{judged.numbers['cases']['made']} maps differ."
    )
  for name, row in judged.numbers["areas"].items():
    lines.append(
      f"Area of {name}: {100 * row['made']:.2f} %, real {100 * row['training']:.2f} %, earth "
      f"mover's distance {100 * row['earth_movers_distance']:.2f} %."
    )
  if like := judged.numbers.get("features"):
    lines.append(
      f"Frechet distance of features to training cases: {like['made_to_training']:.4g}, of unseen "
      f"real cases {like['held_out_to_training']:.4g}."
    )
  word = "passed" if copies["passed"] else "FAILED"
  shown = copies["samples"] - copies["empty"]
  told = f"the largest Dice of {shown} samples with a training case is {copies['largest_dice']:.3f}"
  told = f"{told} (limit {copies['limit']})" if shown else "no sample has any foreground"
  lines.append(f"Test of copies {word}: {told}.")
  return "\n".join(lines)
