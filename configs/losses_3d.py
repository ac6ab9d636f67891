"""Any loss for a short, equal run of one small U-Net on the Decathlon's hippocampus, in 3D.

Papers: each loss's is in its docstring (jaxseg/losses).
Data: ../shared/data/msd_hippocampus, fold 0; base: configs/networks_3d.py.
Run: python train.py --config=configs/losses_3d.py:boundary --workdir=runs/losses_3d/boundary
Every loss by such runs: python benchmarks/losses.py (docs/losses.md).
"""

import pathlib
import runpy

from jaxseg.build import lookup
from jaxseg.config.file import load_config

HERE = pathlib.Path(__file__)
PLANE = runpy.run_path(str(HERE.with_name("losses_2d.py")))
LOSSES = {
  **PLANE["LOSSES"],
  # each of the two halves takes some 2 % of a patch around them
  "size_constraint": dict(
    cross_entropy=dict(),
    dice=dict(batch=True, include_background=False),
    size_constraint=dict(bounds=(None, (0.0, 0.1), (0.0, 0.1))),
  ),
}


def get_config(loss="dice_cross_entropy"):
  config = load_config(f"{HERE.with_name('networks_3d.py')}:unet")
  config.loss = lookup(LOSSES, loss, "loss")
  PLANE["annotate"](config)
  # at the networks' 2e-3 the overlap losses have hardly begun after 200 steps: Dice 0.48, not 0.83
  config.optimiser.learning_rate = 1e-2
  return config
