"""Searching an architecture by gradients, and training what was chosen; minutes of one core.

Papers: DARTS 1806.09055, GDAS 1910.04465, Fair DARTS 1911.12126, NAS-UNet (Weng et al., IEEE
Access 2019), DiNTS 2103.15954; once for all 1908.09791, sandwich rule 1903.05134.
Data: ../shared/data/sunnybrook_lv (2D, at 64x64; patients stay together), msd_hippocampus (3D).
Run: python train.py --config=configs/search_cells.py:nas_unet --workdir=runs/search
     python -m jaxseg derive runs/search --output genotype.json --picture genotype.png
     python train.py --config=configs/search_cells.py:derived,genotype=genotype.json --workdir=...
After the colon, separated by commas: what is done, then data (sunnybrook_lv or msd_hippocampus) and
genotype (a file, or a published one's name; of what was derived).
 - nas_unet, nas_unet_second (order 2), gdas, fairdarts: cells of NAS-UNet by each method
 - darts: cells of DARTS; dints: paths between resolutions
 - elastic: a plain U-Net that holds smaller ones, for searches by shared weights
 - derived, derived_dints: trains the network of a genotype of cells, of paths
 - published_nas_unet, published_dints: the papers' searches, for an accelerator
Half of the training cases teach the weights, the other half the choices; no validation case does.
"""

import pathlib
import runpy

from jaxseg import defaults
from jaxseg.build import suggestion

HERE = pathlib.Path(__file__).parent
SUNNYBROOK = runpy.run_path(str(HERE / "sunnybrook_saunet.py"))
HIPPOCAMPUS = runpy.run_path(str(HERE / "networks_3d.py"))
DATA = ("sunnybrook_lv", "msd_hippocampus")
ARGUMENTS = {"data": DATA[0], "genotype": "nas_unet_v2"}

# DARTS'; a search of 120 steps by it on sunnybrook_lv stays at a Dice of 0.16
PUBLISHED_WEIGHTS = dict(
  name="sgd",
  learning_rate=0.025,
  schedule=dict(name="cosine", start=1.0, end=0.04),
  momentum=0.9,
  weight_decay=3e-4,
  l2=0.0,
  clip=5.0,
  accumulate=1,
)
WEIGHTS = dict(
  name="adamw",
  learning_rate=5e-3,
  schedule=dict(name="cosine", start=1.0, end=0.04),
  weight_decay=1e-2,
  l2=0.0,
  clip=12.0,
  accumulate=1,
)
# DARTS' at ten times the rate, for a tenth of its updates or fewer
CHOICES = dict(
  name="adam", learning_rate=3e-3, b1=0.5, b2=0.999, weight_decay=1e-3, schedule=None, clip=0.0
)
# of the 17 operations those that differ most: each costs its share of every step
FEW = dict(
  down=("avg", "max", "down_cweight", "down_dil", "down_conv"),
  up=("up_cweight", "up_conv"),
  normal=("identity", "none", "cweight", "dil", "conv"),
)
CELLS = dict(name="cell_supernet", nodes=2, features=8, depth=2, norm="instance", operations=FEW)
DARTS = dict(
  name="cell_supernet",
  space="darts",
  nodes=2,
  features=8,
  depth=2,
  norm="instance",
  operations=dict(operations=("none", "max3", "avg3", "skip", "sep3", "dil3")),
)
# a plain U-Net's largest widths and kernels, and those to choose from
LARGEST = dict(name="plain_conv_unet", widths=(16, 32, 64), kernels=5, deep_supervision=0)
SMALLER = dict(widths=((4, 8, 16), (8, 16, 32), (16, 32, 64)), kernels=(3, 5))

# what is done -> method, network
SEARCHES = {
  "nas_unet": (dict(name="darts", stop_share=0.5), CELLS),
  "nas_unet_second": (dict(name="darts", order=2, stop_share=0.5), CELLS),
  "gdas": (
    dict(name="gdas", temperature=dict(name="linear", start=10.0, end=0.1), stop_share=0.5),
    CELLS,
  ),
  "fairdarts": (dict(name="fairdarts", zero_one=10.0, stop_share=0.5), CELLS),
  "darts": (dict(name="darts", stop_share=0.5), DARTS),
  "dints": (
    dict(name="dints", terms=dict(name="linear", begin=0.25), memory=0.6),
    dict(name="dints_supernet", blocks=3, depths=3, features=8, halve=False),
  ),
  "published_nas_unet": (
    dict(name="darts"),
    dict(name="cell_supernet", nodes=3, features=16, depth=4),
  ),
  "published_dints": (
    dict(name="dints", terms=dict(name="linear", begin=0.5)),
    dict(name="dints_supernet", blocks=12, depths=4, features=16),
  ),
}
# networks of genotypes, as large as the supernets that chose them
DERIVED = {
  "derived": dict(name="cell_unet", features=8, depth=2, norm="instance"),
  "derived_dints": dict(name="dints", features=8, halve=False),
}
# warm-ups are shares of the steps
WARM_UP = 0.25


def get_config(wanted="nas_unet"):
  task, values = _arguments(wanted)
  config = defaults.config()
  images = values["data"] == DATA[0]
  (_sunnybrook if images else _hippocampus)(config)
  config.evaluate.every = config.steps
  config.checkpoint_every = max(1, config.steps // 4)
  config.log_every = 10
  if task in DERIVED:
    config.network = {**DERIVED[task], "genotype": values["genotype"]}
  if task == "elastic":
    config.network = LARGEST
    config.method = dict(name="sandwich", **SMALLER)
  if task not in SEARCHES:
    config.optimiser.learning_rate = 3e-3
    config.average = 0.99
    return config
  method, network = SEARCHES[task]
  if task.startswith("published"):
    _published(config, task)
  config.method = {**method, "warm_up": int(WARM_UP * config.steps)}
  config.network = network
  config.optimisers = dict(architecture=CHOICES)
  if task.startswith("published"):
    config.optimisers.architecture.learning_rate = 3e-4
  if not task.startswith("published"):
    config.optimiser = WEIGHTS
  # half of the training cases for the weights, half for the choices
  config.data.split = {**config.data.split.to_dict(), "labelled": 0.5}
  config.streams = dict(architecture=dict(cases="held_back"))
  return config


def _sunnybrook(config):
  config.steps = 400
  config.data.source = SUNNYBROOK["SOURCE"]
  config.data.split = SUNNYBROOK["SPLIT"]
  config.data.resampling = dict(size=(64, 64), order=1, label_order=0)
  config.data.patch = (64, 64)
  config.data.batch = 4
  config.augment = SUNNYBROOK["AUGMENT"]


def _hippocampus(config):
  config.steps = 150
  config.data.source = HIPPOCAMPUS["SOURCE"]
  config.data.patch = (32, 48, 32)
  config.data.batch = 1
  config.augment = HIPPOCAMPUS["AUGMENT"]
  config.predictor = dict(name="sliding_window", overlap=0.5, batch=2)
  config.evaluate.cases = 8


def _published(config, task):
  """300 epochs and SGD of NAS-UNet, 1,000 epochs of DiNTS; whole resolution, larger batches."""
  config.steps = 15_000
  config.data.resampling = dict()
  config.data.batch = 8
  decay = 3e-4 if task == "published_nas_unet" else 4e-5
  config.optimiser = {**PUBLISHED_WEIGHTS, "weight_decay": decay}
  config.data.patch = (256, 256) if len(config.data.patch) == 2 else (32, 64, 32)
  config.evaluate.every = config.steps
  config.checkpoint_every = 1_000


def _arguments(wanted):
  """TASK,data=...,genotype=... -> the task and ARGUMENTS; raises ValueError for what is none."""
  task, *words = wanted.split(",")
  tasks = (*SEARCHES, *DERIVED, "elastic")
  if task not in tasks:
    raise ValueError(
      f"'{task}' is nothing that is done here{suggestion(task, tasks)}; choices: "
      f"{', '.join(tasks)}."
    )
  return task, defaults.arguments(words, ARGUMENTS, "TASK", {"data": DATA})
