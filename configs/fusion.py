"""Fusion of MR sequences, and doing without one: a brain tumour in FLAIR and T1 with contrast.

Papers: HyperDenseNet (1804.02967), mmFormer (2206.02425); dropout of modalities: HeMIS
(1607.05194), ivadomed. Data: ../shared/data/brats2013_deepmedic, 3 high-grade gliomas of BraTS 2013
as DeepMedic ships them, FLAIR and T1c (their README); each validates once, so that scores are those
of three patients and no more.
Run: python train.py --config=configs/fusion.py:input --workdir=runs/fusion/input
     python train.py --config=configs/fusion.py:decision,dropout=none,fold=2 ...
     python -m jaxseg evaluate-subsets --workdir=runs/fusion/input
     python -m jaxseg predict --workdir=runs/fusion/input --missing t1c --input=... --output=...
After the kind of fusion, separated by commas: dropout ("independent": every subset as likely as
every other; "count": as ivadomed; "none"), fold (0, 1, 2: the patient that validates), protocol
("cpu": axial slices at 2 mm, narrow networks, about 8 minutes of a core by the pace of attention's
first steps; "published": volumes at 1 mm and the papers' widths, for an accelerator, not run here).
Scored: whole tumour, tumour core, enhancing tumour, as BraTS does. All kinds with every subset of
channels: python benchmarks/fusion.py (docs/domains.md).
"""

from jaxseg import defaults
from jaxseg.build import suggestion

UNET = dict(name="unet", norm="instance")

# kind -> the network of a short run on slices
FUSIONS = {
  "input": dict(UNET, widths=(12, 24, 48, 96)),
  # nothing is down-sampled: a layer sees two voxels more than the one before
  "layer": dict(
    name="hyper_densenet", widths=(6, 6, 6, 8, 8, 8, 10, 10, 10), head=(48, 24), norm="instance"
  ),
  "decision": dict(
    name="decision_fusion", member=dict(UNET, widths=(8, 16, 32, 64)), posterior="sigmoid"
  ),
  "attention": dict(name="attention_fusion", widths=(8, 16, 32, 64), hidden=48, mlp=96),
}

# as published, on volumes
PUBLISHED = {
  "input": dict(UNET, widths=(32, 64, 128, 256, 320)),
  "layer": dict(name="hyper_densenet", padding="valid"),
  "decision": dict(
    name="decision_fusion", member=dict(UNET, widths=(16, 32, 64, 128, 256)), posterior="sigmoid"
  ),
  "attention": dict(
    name="attention_fusion", widths=(16, 32, 64, 128, 256), hidden=512, mlp=4096, heads=8
  ),
}

# The brain comes with a mean near 0, and what is outside of it with one value in each file, from
# -3.46 to -6.15: cut off and moved to 0, it is the same for all patients, and what a missing
# channel and the padding are. Of the brain at most 6 % lie below, of the tumours 0.5 %.
OUTSIDE_0 = dict(name="ct", lower=-3.45, upper=20.0, mean=-3.45, std=1.0)

DROPOUTS = {"independent": dict(), "count": dict(rule="count"), "none": None}
PROTOCOLS = ("cpu", "published")
ARGUMENTS = {"dropout": "independent", "fold": "0", "protocol": "cpu"}
FOLDS = 3


def get_config(wanted="input"):
  fusion, dropout, fold, protocol = _arguments(wanted)
  config = defaults.config()
  config.loss = dict(cross_entropy=dict(weight=1.0), dice=dict(weight=1.0, batch=True))
  if fusion == "decision":
    # each member answers for itself as much as all do together
    config.method = dict(name="supervised", head_decay=1.0)
  config.data.source = dict(
    name="case_folders",
    path="../shared/data/brats2013_deepmedic",
    channels=("flair", "t1c"),
    files=("Flair_*.nii.gz", "T1c_*.nii.gz"),
    label="OTMultiClass.nii.gz",
    # written as oedema, necrosis, enhancing tumour; the core lies on the whole, and so on
    names=("whole tumour", "tumour core", "enhancing tumour"),
    values=((2, 1, 3, 4), (1, 3, 4), (4,)),
  )
  # of three cases each validates once
  config.data.split = dict(name="kfold", fold=fold, folds=FOLDS, seed=12345)
  config.data.normalise = OUTSIDE_0
  config.augment = dict(
    spatial=dict(rotation=15.0, scale=(0.85, 1.2)),
    brightness=dict(),
    contrast=dict(),
    noise=dict(),
    mirror=dict(),
  )
  if DROPOUTS[dropout] is not None:
    config.augment["modality_dropout"] = DROPOUTS[dropout]
  if protocol == "published":
    _published(config, fusion)
  else:
    _cpu(config, fusion)
  # the case that validates is looked at once, at the end
  config.evaluate.every = config.steps
  config.checkpoint_every = max(1, config.steps // 4)
  return config


def _cpu(config, fusion):
  config.steps = 600
  config.network = FUSIONS[fusion]
  config.optimiser.learning_rate = 2e-3
  config.data.spacing = (None, 2.0, 2.0)
  config.data.slices = 0
  config.data.patch = (64, 64)
  config.data.batch = 8
  config.data.foreground = 0.6
  config.predictor = dict(name="slices", overlap=0.25, batch=16)


def _published(config, fusion):
  config.steps = 30_000
  config.network = PUBLISHED[fusion]
  config.optimiser.learning_rate = 2e-4
  config.data.patch = (27, 27, 27) if fusion == "layer" else (80, 80, 80)
  config.data.batch = 30 if fusion == "layer" else 2
  config.predictor = dict(name="sliding_window", overlap=0.5, batch=4)


def _arguments(wanted):
  """FUSION,dropout=none,... -> fusion and ARGUMENTS; raises ValueError for what is none."""
  fusion, *words = wanted.split(",")
  if fusion not in FUSIONS:
    raise ValueError(
      f"'{fusion}' is no kind of fusion here{suggestion(fusion, FUSIONS)}; choices: "
      f"{', '.join(FUSIONS)}."
    )
  folds = [str(fold) for fold in range(FOLDS)]
  choices = {"dropout": DROPOUTS, "protocol": PROTOCOLS, "fold": folds}
  values = defaults.arguments(words, ARGUMENTS, "FUSION", choices)
  return fusion, values["dropout"], int(values["fold"]), values["protocol"]
