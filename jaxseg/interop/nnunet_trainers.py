"""nnU-Net's trainers (2.8.1) by name: how long each trains, and in what it differs from the first.

All of them build the network that the plans name, so that what they trained predicts here. A
trainer with a network of its own is in `OTHER_NETWORKS`.
"""

import re
from typing import NamedTuple

STANDARD = "nnUNetTrainer"
STEPS = 250  # a trainer's epoch
_AUGMENTATION, _LOSS, _RATE = "augmentation", "loss", "schedule of the rate"


class Trainer(NamedTuple):
  """What a name stands for.

  Attributes:
    epochs: of 250 steps.
    differs: what it trains otherwise with than `nnUNetTrainer`, "" for nothing but its length and
      the mirrored axes, which its checkpoints tell.
  """

  epochs: int = 1000
  differs: str = ""


TRAINERS: dict[str, Trainer] = {
  STANDARD: Trainer(),
  **{f"{STANDARD}_{n}epochs": Trainer(n) for n in (5, 10, 20, 50, 100, 250, 500, 750)},
  **{f"{STANDARD}_{n}epochs": Trainer(n) for n in (2000, 4000, 8000)},
  f"{STANDARD}_1epoch": Trainer(1),
  f"{STANDARD}Benchmark_5epochs": Trainer(5),
  f"{STANDARD}Benchmark_5epochs_noDataLoading": Trainer(5),
  f"{STANDARD}NoMirroring": Trainer(),
  **{f"{STANDARD}_{n}epochs_NoMirroring": Trainer(n) for n in (250, 2000, 4000, 8000)},
  f"{STANDARD}_onlyMirror01": Trainer(),
  f"{STANDARD}_onlyMirror01_1500ep": Trainer(1500),
  f"{STANDARD}_onlyMirror01_DASegOrd0": Trainer(1000, _AUGMENTATION),
  f"{STANDARD}_onlyMirror01_DA5": Trainer(1000, _AUGMENTATION),
  f"{STANDARD}_DASegOrd0": Trainer(1000, _AUGMENTATION),
  f"{STANDARD}_DASegOrd0_NoMirroring": Trainer(1000, _AUGMENTATION),
  f"{STANDARD}_noDummy2DDA": Trainer(1000, _AUGMENTATION),
  f"{STANDARD}NoDA": Trainer(1000, _AUGMENTATION),
  **{f"{STANDARD}DA5{of}": Trainer(1000, _AUGMENTATION) for of in ("", "ord0", "Segord0")},
  f"{STANDARD}DA5_10epochs": Trainer(10, _AUGMENTATION),
  f"{STANDARD}NoDeepSupervision": Trainer(1000, "loss, which leaves the coarser heads untrained"),
  **{f"{STANDARD}{of}": Trainer(1000, _LOSS) for of in ("DiceLoss", "DiceCELoss_noSmooth")},
  **{f"{STANDARD}{of}": Trainer(1000, _LOSS) for of in ("Topk10Loss", "Topk10LossLS01")},
  **{f"{STANDARD}{of}": Trainer(1000, _LOSS) for of in ("DiceTopK10Loss", "CELoss")},
  f"{STANDARD}CELoss_5epochs": Trainer(5, _LOSS),
  "nnUNet_Trainer_BS8": Trainer(1000, "batch"),
  f"{STANDARD}CosAnneal": Trainer(1000, _RATE),
  f"{STANDARD}_warmup": Trainer(1000, _RATE),
  **{f"{STANDARD}Adam{of}": Trainer(1000, "optimiser") for of in ("", "1en3", "3en4")},
  **{f"{STANDARD}VanillaAdam{of}": Trainer(1000, "optimiser") for of in ("", "1en3", "3en4")},
  **{
    f"{STANDARD}Adan{of}": Trainer(1000, "optimiser")
    for of in ("", "1en3", "3en4", "1en1", "CosAnneal")
  },
  **{
    f"{STANDARD}_probabilisticOversampling{of}": Trainer(1000, "sampling")
    for of in ("", "_033", "_010")
  },
}

# trainers (a part of the name) -> the network that each builds whatever the plans say
OTHER_NETWORKS = {r"nnUNetTrainerBN": "batch norm", r"Primus": "the transformer Primus"}


def trainer_of(name: str, where, *, like: str | None = None) -> Trainer:
  """The trainer of that name, or what it is `like`; raises ValueError for one that is unknown."""
  for pattern, network in OTHER_NETWORKS.items():
    if re.search(pattern, name):
      raise ValueError(
        f"{where}: was trained by {name}, whose network ({network}) is not the plans' "
        "PlainConvUNet or ResidualEncoderUNet; those two are imported."
      )
  known = like or name
  if known not in TRAINERS:
    raise ValueError(
      f"{where}: was trained by {name}, which is none of nnU-Net 2.8.1's trainers, so that neither "
      "its network nor its preparation is known; where it changes how it trains alone, import it "
      f"with --trainer {STANDARD}, and its network is checked tensor by tensor."
      if not like
      else f"--trainer {like}: is none of nnU-Net 2.8.1's trainers, as {STANDARD}."
    )
  return TRAINERS[known]
