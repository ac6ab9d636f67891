"""Searches of architectures and losses, small enough for two CPU cores; a config of one's own data.

Papers: NAS-UNet (Weng et al., IEEE Access 2019), DARTS (1806.09055), regularised evolution
(1802.01548), Auto Seg-Loss (2010.07930), AM-LFS (1905.07375).
Data: ../shared/data/{sunnybrook_lv,msd_hippocampus,drive}; a set of one's own by data=FOLDER, in
nnU-Net's raw format (imagesTr, labelsTr, dataset.json), of volumes; of 2D images with set=drive.
Run: python -m jaxseg search --config=configs/search.py:random,set=sunnybrook_lv --workdir=runs/s
Own: python -m jaxseg search --config=configs/search.py:evolution,data=FOLDER --workdir=runs/s
Score: docs/search.md. `darts` is a run of train.py, whose cells `jaxseg derive` gives.
"""

import pathlib
import runpy

from jaxseg import defaults
from jaxseg.build import plain, suggestion
from jaxseg.config.file import load_config

HERE = pathlib.Path(__file__).parent
# the sets, sizes and operations of searches by gradients are those of all here
CELLS = str(HERE / "search_cells.py")
ARGUMENTS = dict(
  set="sunnybrook_lv", data="", budget="25", evaluation="", run="", genotype="", steps=""
)
SETS = ("sunnybrook_lv", "msd_hippocampus", "drive")
# networks that evaluations are compared on
COMPARED = 12
RATES = (1e-3, 3e-3, 1e-2)
DICE = dict(name="dice", batch=True, include_background=False)
DICE_CROSS_ENTROPY = dict(cross_entropy=dict(name="cross_entropy"), dice=DICE)
# the winner is trained longer than search_cells' networks, so that more counts than how fast one
# begins, a candidate for an eighth of that
LONGER, CANDIDATE = 4, 8
# how far Adam may carry a choice of DARTS in all, as published: 3e-4 in 19,500 updates
CARRIED = 5.9
# where the surrogates start: curves that bend nothing
IDENTITY = (0.25, 0.25, 1 / 3, 1 / 3, 0.5, 0.5) * 2
LINEAR = dict(name="linear", start=0.0, end=1.0)


def _hand(config):
  """A hand-made U-Net with a small sweep of its width and rate."""
  sizes = ((8, 16, 32), (8, 16, 32, 64), (12, 24, 48, 96))
  return dict(
    space=dict(
      network=dict(widths=dict(choices=sizes)),
      optimiser=dict(learning_rate=dict(choices=RATES)),
    ),
    strategy=dict(name="random", trials=9),
  )


def _cells(config, **strategy):
  """NAS-UNet's space as `search_cells` has it: what random search and evolution choose from."""
  table = runpy.run_path(CELLS)
  config.network = dict(table["DERIVED"]["derived"], genotype="nas_unet_v2")
  space = dict(name="nas_unet", nodes=table["CELLS"]["nodes"], **table["FEW"])
  return dict(space=dict(network=dict(genotype=dict(space=space))), strategy=strategy)


def _random(config):
  """Random search, the bar to beat."""
  return _cells(config, name="random", trials=100)


def _evolution(config):
  """Regularised evolution of the same cells."""
  return _cells(config, name="evolution", trials=100, population=8, tournament=3, at_once=2)


def _nas_unet(config):
  """The published cells, with a small sweep of width and rate."""
  _cells(config)
  return dict(
    space=dict(
      network=dict(features=dict(choices=(4, 8, 12))),
      optimiser=dict(learning_rate=dict(choices=RATES)),
    ),
    strategy=dict(name="random", trials=9),
  )


def _darts(config):
  """The supernet of these cells, trained by first-order DARTS; no search of runs."""
  return {}


def _derived(config):
  """The network of a genotype that a supernet's run gave; no search."""
  _cells(config)
  return {}


def _dice_cross_entropy(config):
  """No search of the loss: Dice and cross entropy with a small sweep of rate and weight."""
  return dict(
    space=dict(
      optimiser=dict(learning_rate=dict(choices=RATES)),
      loss=dict(cross_entropy=dict(weight=dict(choices=(0.5, 1.0, 2.0)))),
    ),
    strategy=dict(name="random", trials=9),
  )


def _surrogate(config, metric, **strategy):
  config.loss = dict(surrogate=dict(name="surrogate", metric=metric, theta=IDENTITY))
  return dict(
    space=dict(loss=dict(surrogate=dict(theta=dict(low=0.0, high=1.0, count=12)))),
    first=(dict(loss=dict(surrogate=dict(theta=IDENTITY))),),
    strategy=strategy,
  )


def _surrogate_ppo(config):
  """Auto Seg-Loss: a surrogate of Dice, searched by PPO; the paper's 32 samples in 12 rounds."""
  return _surrogate(config, "dice", name="ppo", samples=6, rounds=5)


def _surrogate_evolution(config):
  """The same surrogate, searched by evolution."""
  return _surrogate(config, "dice", name="evolution", trials=30, population=8, at_once=2)


def _boundary_ppo(config):
  """A surrogate of the IoU around boundaries, searched for that metric."""
  config.evaluate.best = "boundary_iou"
  search = _surrogate(config, "boundary_iou", name="ppo", samples=6, rounds=5)
  return search


def _sums(config):
  """A distribution over weighted sums and schedules of losses and regularisers."""
  config.loss = dict(
    cross_entropy=dict(name="cross_entropy"),
    dice=DICE,
    focal_tversky=dict(name="focal_tversky", batch=True, include_background=False),
    lovasz_softmax=dict(name="lovasz_softmax", weight=0.0),
    total_variation=dict(name="total_variation", weight=0.0),
    # of no use, so that it shows whether the search thinks that it is
    constant=dict(name="constant", weight=0.0),
  )
  share = dict(low=0.0, high=1.0)
  start = dict(
    cross_entropy=dict(weight=1.0),
    dice=dict(weight=1.0),
    focal_tversky=dict(weight=0.0),
    lovasz_softmax=dict(weight=0.0),
    total_variation=dict(weight=0.0),
    constant=dict(weight=0.0),
  )
  return dict(
    space=dict(
      loss=dict(
        cross_entropy=dict(weight=share),
        dice=dict(weight=share),
        focal_tversky=dict(weight=share),
        lovasz_softmax=dict(weight=dict(choices=(0.0, 0.5, 1.0, LINEAR))),
        total_variation=dict(weight=dict(low=0.0, high=0.2)),
        constant=dict(weight=share),
      )
    ),
    first=(dict(loss=start),),
    strategy=dict(name="ppo", samples=6, rounds=5),
  )


def _sums_am_lfs(config):
  """The same distribution, moved while the networks are trained, as AM-LFS does."""
  strategy = dict(name="am_lfs", samples=6, rounds=6)
  return dict(_sums(config), strategy=strategy, steps=config.steps // (2 * CANDIDATE))


# name -> what makes config.search of a config of a data set; {} is a run of train.py
SEARCHES = dict(
  hand=_hand,
  random=_random,
  evolution=_evolution,
  darts=_darts,
  nas_unet=_nas_unet,
)
DERIVED = "derived"
LOSS_SEARCHES = dict(
  dice_cross_entropy=_dice_cross_entropy,
  surrogate_ppo=_surrogate_ppo,
  surrogate_evolution=_surrogate_evolution,
  boundary_ppo=_boundary_ppo,
  sums=_sums,
  sums_am_lfs=_sums_am_lfs,
)


def get_config(wanted="hand"):
  name, *words = wanted.split(",")
  known = {**SEARCHES, **LOSS_SEARCHES, DERIVED: _derived}
  if name not in known:
    raise ValueError(
      f"'{name}' is no search of this config{suggestion(name, known)}; choices: {', '.join(known)}."
    )
  initial = dict(ARGUMENTS)
  if any(word.startswith("data=") for word in words):
    # whose sizes a folder has
    initial["set"] = SETS[1]
  given = defaults.arguments(words, initial, "SEARCH", {"set": SETS})
  if given["data"] and given["set"] == SETS[0]:
    raise ValueError(
      f"set={SETS[0]}: its split goes by the names of its own patients, data={given['data']} has "
      f"others; expected set={SETS[1]}, whose sizes are for volumes, or set={SETS[2]}, for images."
    )
  for argument in ("budget", "steps"):
    if given[argument] and not given[argument].isdigit():
      raise ValueError(f"{argument}={given[argument]}: expected a whole number.")
  config = _base(given, "nas_unet" if name == "darts" else "derived")
  config.steps = int(given["steps"] or LONGER * config.steps)
  config.evaluate.every = config.steps
  if name == "darts":
    config.method.warm_up = config.steps // 4
    updates = config.steps - config.method.warm_up
    config.optimisers.architecture.learning_rate = CARRIED / updates
    return config
  config.network = dict(name="unet", widths=(8, 16, 32), norm="instance", up="transpose")
  config.loss = DICE_CROSS_ENTROPY
  search = known[name](config)
  if given["genotype"]:
    config.network.genotype = given["genotype"]
  if search:
    config.search = _with_evaluation(search, config.steps, given)
  return config


def _base(given, task):
  """The data and what all trainings have alike; a folder has all but its cases from the set."""
  shape = given["set"] if given["set"] in SETS[:2] else SETS[1]
  config = load_config(f"{CELLS}:{task},data={shape}")
  config.evaluate.metrics = ("dice", "boundary_iou")
  if given["set"] == "drive":
    other = load_config(str(HERE / "drive_unet.py"))
    for field in ("data", "augment", "predictor"):
      config[field] = other[field]
    config.data.patch = (96, 96)
    config.data.batch = 4
    config.steps = 400
    if task != "derived":
      split = dict(plain(config.data.split), labelled=0.5)
      config.data.split = split
  if given["data"]:
    config.data.source = dict(name="nnunet_raw", path=given["data"])
  return config


def _with_evaluation(search, steps, given):
  """How candidates are scored, on which cases, and for how long."""
  search["split"] = dict(folds=4)
  search["evaluation"] = dict(name="proxy", steps=search.pop("steps", steps // CANDIDATE))
  if not given["evaluation"]:
    return dict(search, budget=dict(minutes=float(given["budget"])))
  # the same networks whatever the evaluation, which are compared
  name = given["evaluation"]
  of = dict(proxy=dict(steps=steps // (2 * CANDIDATE)), shared=dict(run=given["run"]))
  strategy = dict(name="random", trials=COMPARED)
  return dict(search, evaluation=dict(name=name, **of.get(name, {})), strategy=strategy)
