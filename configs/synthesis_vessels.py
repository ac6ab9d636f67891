"""Retinal vessels from noise: label maps, images of them, and what they are worth in training.

Papers: Guibas, Virdi, Li 2017 (1709.01872), whose steps these are; DCGAN (1511.06434), pix2pix
(Isola et al., 1611.07004), SPADE (Park et al., 1903.07291), VAE (Kingma, Welling, 1312.6114).
Data: ../shared/data/drive and ../shared/data/chase_db1 (at half its size), five folds; generators
learn from the cases that train in a fold, those that validate are looked at by nobody before.
Run, one command for each step:
     python train.py --config=configs/synthesis_vessels.py:masks --workdir=runs/vessels/masks
     python train.py --config=configs/synthesis_vessels.py:images --workdir=runs/vessels/images
     python train.py --workdir=runs/vessels/both \\
       --config=configs/synthesis_vessels.py:segment,data=both,masks=runs/vessels/masks,images=...
     python -m jaxseg judge-synthetic --masks runs/vessels/masks --images runs/vessels/images ...
First word: one of PARTS ("segment"). After it, separated by commas: set ("drive", "chase_db1"),
fold (0 to 4), size ("cpu": patches of 128x128 and small widths, minutes on one core; "published":
256x256, for an accelerator); of "segment" data ("real", "synthetic" or "both", as many patches of
each in a batch), masks and images (run folders; masks=training takes the training cases' label
maps, turned) and cases (how many are made). The table: python benchmarks/synthesis.py
(docs/synthesis.md).
"""

import pathlib
import runpy

from jaxseg import defaults
from jaxseg.build import suggestion

DRIVE = runpy.run_path(str(pathlib.Path(__file__).parent / "drive_unet.py"))
DATA = "../shared/data"
COLOURS = ("red", "green", "blue")
# both data sets and what is made have the same channels, and vessels about as wide
SETS = {
  "drive": {
    "data.source": DRIVE["SOURCE"],
  },
  "chase_db1": {
    "data.source": dict(
      name="paired_folder",
      images=f"{DATA}/chase_db1",
      masks=f"{DATA}/chase_db1",
      names=("background", "vessel"),
      channels=COLOURS,
      image_pattern="*.jpg",
      mask_pattern="{case}_1stHO.png",
    ),
    "data.split.group": r"Image_(\d+)",
    "data.resampling": dict(size=(480, 500), order=1, label_order=0),
  },
}
# what is made lies between -1 and 1
NORMALISE = dict(name="window", lower=0.0, upper=255.0, signed=True)
ADAM = dict(name="adam", learning_rate=2e-4, b1=0.5, schedule=dict(name="constant"))
UPRIGHT = dict(mirror=dict(), quarter_turn=dict())
TURNED = dict(spatial=dict(rotation=180.0, scale=(0.9, 1.1)), mirror=dict())
LABEL = dict(name="synthesis", inputs="label", targets=COLOURS, data_range=255.0)
PATCH = dict(name="patch_critic", norm="instance")

# part -> fields of the config by path; widths are those of SIZES
PARTS = {
  "masks": {
    "task": dict(name="masks"),
    "method": dict(
      name="mask_gan", mode="hinge", instance_noise=dict(name="linear", start=0.5, end=0.1)
    ),
    "network": dict(name="mask_generator", coarser=2),
    # a norm of each map would hide how much of it is vessel
    "networks": dict(critic=dict(name="patch_critic", norm="none", spectral=True)),
    "augment": TURNED,
  },
  "vae": {
    "task": dict(name="masks"),
    "method": dict(name="mask_vae"),
    "network": dict(name="mask_generator"),
    "networks": dict(encoder=dict(name="mask_encoder")),
    "augment": TURNED,
  },
  "images": {
    "task": LABEL,
    "method": dict(name="pix2pix"),
    "network": dict(name="unet_generator", channels=3, norm="instance"),
    "networks": dict(critic=PATCH),
    "loss": dict(l1=dict(weight=100.0)),
    "augment": UPRIGHT,
  },
  "spade": {
    "task": LABEL,
    "method": dict(name="pix2pix", mode="hinge", feature_weight=10.0),
    "network": dict(name="spade_generator", channels=3, noise=8, norm="instance"),
    "networks": dict(critic=dict(**PATCH, spectral=True)),
    "loss": dict(l1=dict(weight=10.0)),
    "augment": UPRIGHT,
  },
  "segment": {
    "network": dict(name="unet", up="transpose"),
    "augment": dict(
      spatial=dict(rotation=180.0, scale=(0.8, 1.25)),
      brightness=dict(),
      contrast=dict(),
      gamma=dict(),
      mirror=dict(),
    ),
  },
}

WIDE = (64, 128, 256, 512)
# size -> part -> fields of the config
SIZES = {
  "cpu": {
    "masks": {
      "steps": 3000,
      "data.patch": (128, 128),
      "data.batch": 8,
      "network.widths": (32, 64, 64, 64),
      "networks.critic.widths": (16, 32, 64),
      # of so narrow a network; the critic's is the published one
      "optimiser.learning_rate": 5e-4,
    },
    "vae": {
      "steps": 3000,
      "data.patch": (128, 128),
      "data.batch": 8,
      "network.widths": (8, 16, 32, 64, 64),
      "networks.encoder.widths": (8, 16, 32, 64),
    },
    "images": {
      "steps": 1500,
      "data.patch": (128, 128),
      "data.batch": 4,
      "network.widths": (16, 32, 64, 64, 64),
      "networks.critic.widths": (8, 16, 32),
    },
    "spade": {
      "steps": 1000,
      "data.patch": (128, 128),
      "data.batch": 4,
      "network.widths": (8, 16, 32, 32, 32),
      "network.hidden": 16,
      "networks.critic.widths": (8, 16, 32),
    },
    "segment": {
      "steps": 400,
      "data.patch": (96, 96),
      "data.batch": 8,
      "network.widths": (8, 16, 32, 64),
    },
  },
  "published": {
    "masks": {
      "steps": 20_000,
      "data.patch": (256, 256),
      "data.batch": 64,
      "network.widths": (64, 128, 256, 512, 512, 512),
      "networks.critic.widths": (64, 128, 256, 512),
    },
    "vae": {
      "steps": 20_000,
      "data.patch": (256, 256),
      "data.batch": 64,
      "network.widths": (64, 128, 256, 512, 512, 512),
      "networks.encoder.widths": (64, 128, 256, 512, 512, 512),
    },
    "images": {
      "steps": 20_000,
      "data.patch": (256, 256),
      "data.batch": 1,
      "network.widths": (*WIDE, 512, 512, 512, 512),
      "networks.critic.widths": WIDE,
    },
    "spade": {
      "steps": 20_000,
      "data.patch": (256, 256),
      "data.batch": 4,
      "network.widths": (*WIDE, 1024, 1024),
      "networks.critic.widths": WIDE,
    },
    "segment": {
      "steps": 10_000,
      "data.patch": (256, 256),
      "data.batch": 16,
      "network.widths": (32, 64, 128, 256, 512),
    },
  },
}
CHOICES = ("real", "synthetic", "both")
ARGUMENTS = {"set": "drive", "fold": "0", "size": "cpu", "data": "real"}
ARGUMENTS |= {"masks": "", "images": "", "cases": "64"}


def get_config(wanted="segment"):
  part, given = _arguments(wanted)
  config = defaults.config()
  config.data.split = dict(name="kfold", fold=int(given["fold"]), folds=5)
  defaults.assign(config, SETS[given["set"]])
  config.data.normalise = NORMALISE
  config.data.foreground = 1.0 if part != "segment" else 1 / 3  # inside the field of view
  defaults.assign(config, PARTS[part])
  if part != "segment":
    config.optimiser = {**ADAM, "weight_decay": 0.0, "clip": 0.0}
    if "critic" in config.networks:
      config.optimisers = dict(critic=ADAM)
  else:
    config.optimiser.learning_rate = 2e-3
  defaults.assign(config, SIZES[given["size"]][part])
  if part == "segment":
    _mixed(config, given)
  if part in ("vae", "masks"):
    # a window is as large as a map, and one tells as much as many
    config.predictor = dict(name="sliding_window", overlap=0.0, batch=1)
  config.evaluate.every = config.steps
  config.evaluate.cases = 2
  config.checkpoint_every = max(1, config.steps // 4)
  return config


def _mixed(config, given):
  """Patches that were made, beside the real ones or in their place."""
  if given["data"] == "real":
    return
  of = dict(name="synthetic", cases=int(given["cases"]))
  of |= {name: given[name] for name in ("masks", "images")}
  config.streams = dict(
    synthetic=dict(source=of, joins="beside", batch=config.data.batch // 2, resampling=dict())
  )
  if given["data"] == "both":
    config.data.batch = config.data.batch // 2
  else:
    config.streams["synthetic"].update(joins="instead", batch=config.data.batch)


def _arguments(wanted):
  """PART,set=drive,... -> the part, and the rest by name."""
  part, *words = wanted.split(",")
  if part not in PARTS:
    raise ValueError(
      f"'{part}' is no part of this table{suggestion(part, PARTS)}; choices: {', '.join(PARTS)}."
    )
  known = {"set": SETS, "size": SIZES, "data": CHOICES}
  given = defaults.arguments(words, ARGUMENTS, "PART", known)
  for name in ("fold", "cases"):
    if not given[name].isdigit():
      raise ValueError(f"{name}={given[name]}: expected a whole number.")
  made = part == "segment" and given["data"] != "real"
  if made != bool(given["masks"] and given["images"]):
    raise ValueError(
      "masks and images: are the runs that synthetic data are made by; expected both with "
      "segment,data=synthetic or segment,data=both, and neither without."
    )
  return part, given
