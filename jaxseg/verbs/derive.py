"""derive: the genotype that a search chose, as JSON for a config, and as a drawing."""

import pathlib
import sys
from typing import Any

from jaxseg.build import build
from jaxseg.methods import SEARCHES
from jaxseg.methods.averaged import SUFFIX
from jaxseg.methods.searching import ARCHITECTURE
from jaxseg.networks import SUPERNETS
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.runs.writer import read_rows
from jaxseg.search import decisions, derivation, drawing, genotypes
from jaxseg.verbs.arguments import Parser

FILE = "genotype.json"
_NETWORKS = {"dints": "dints", "darts": "cell_unet", "nas_unet": "cell_unet"}


def derive(run, output, picture=None) -> tuple[dict[str, Any], list[str]]:
  """Writes the genotype of a search, and draws it.

  Args:
    run: the run folder of a search.
    output: the file to write.
    picture: where to draw it, None nowhere.

  Returns:
    The genotype, and sentences to be told of it.

  Raises:
    FileNotFoundError: no run, or one without a checkpoint.
    ValueError: a run that is no search, or a picture of an unknown kind.
  """
  run = pathlib.Path(run)
  if picture is not None:
    drawing.check_ending(picture)
  if not (run / run_folder.CONFIG).is_file() and (folds := run_folder.folds_in(run)):
    raise ValueError(
      f"{run}: holds {len(folds)} runs, each of which chose for itself; name one, as {folds[0]}."
    )
  config = run_folder.read_config(run)
  method, spec = config["method"]["name"], config["network"]
  if method not in SEARCHES or spec.get("name") not in SUPERNETS:
    raise ValueError(
      f"{run}: its method is '{method}' and its network '{spec.get('name')}', which choose "
      f"nothing; expected the run of a search ({', '.join(SEARCHES)})."
    )
  if config["members"] > 1:
    raise ValueError(
      f"{run}: searched {config['members']} times at once (config.members); expected a run of one."
    )
  net = build(SUPERNETS, {name: of for name, of in spec.items() if name != "classes"}, "network")
  step, learners = checkpoint.newest_learners(run)
  chooser = learners.get(ARCHITECTURE + SUFFIX, learners[ARCHITECTURE])
  of = net.choices(len(config["data"]["patch"]))
  genotype = derivation.genotype(of, chooser.params, method)
  genotypes.write(output, genotype)
  if picture is not None:
    drawing.draw(genotype, picture)
  collapsed = derivation.collapsed(genotype)
  open_choices = decisions.notes(of, chooser.params, method, collapsed=collapsed)
  return genotype, [*_notes(run, config, step, genotype), *open_choices]


def _notes(run: pathlib.Path, config, step: int, genotype: dict[str, Any]) -> list[str]:
  """What is to be told of a genotype."""
  told = []
  for name, (number, edges) in derivation.skips(genotype).items():
    told.append(f"{name}: {number} of {edges} edges are skip connections.")
  for name in derivation.collapsed(genotype):
    told.append(
      f"Warning: the {name} cell is mostly skip connections: the search collapsed; try a longer "
      "warm_up, stop_share, or fairdarts."
    )
  stopped = [row["step"] for row in read_rows(run / "metrics.jsonl")[0] if row.get("stopped")]
  if stopped:
    told.append(
      f"The choices stopped at step {min(stopped)} or shortly before (stop_share) and are those of "
      "before skip connections took over."
    )
  warm_up = config["method"].get("warm_up", 0)
  if step <= warm_up:
    told.append(
      f"Warning: the run stands at step {step}, within its warm-up of {warm_up}: nothing was "
      "chosen yet, the genotype is chance."
    )
  elif step < config["steps"]:
    told.append(f"Warning: the run stands at step {step} of {config['steps']}.")
  return told


def main(arguments: list[str]) -> None:
  parser = Parser(
    prog="jaxseg derive",
    description="Takes the architecture that a search chose out of its run folder, as a JSON file "
    "that a config names: network=dict(name=..., genotype=FILE).",
  )
  add = parser.add_argument
  add("run", type=pathlib.Path, help="run folder of a search (train.py's --workdir)")
  add("--output", type=pathlib.Path, help=f"file to write; default: RUN/{FILE}")
  add("--picture", type=pathlib.Path, help="where to draw it, a .png, .svg or .pdf")
  options = parser.parse_args(arguments)
  output = options.output or options.run / FILE
  try:
    genotype, told = derive(options.run, output, options.picture)
  except (ValueError, OSError) as error:
    sys.exit(f"derive: {error}")
  for line in told:
    print(line)
  name = _NETWORKS[genotype["space"]]
  print(f'Wrote {output}; train it by network=dict(name="{name}", genotype="{output}").')
