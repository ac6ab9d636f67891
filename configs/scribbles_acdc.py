"""Learning from scribbles: ACDC's heart, 70 patients scribbled on, 10 with full labels validate.

Papers: gated CRF: Obukhov et al. (arXiv 1906.04651); entropy: Grandvalet and Bengio 2004; two
decoders: Luo et al., WSL4MIS (2203.02106); boxes: Kervadec et al. (2004.06816).
Data: ../shared/data/acdc_ssl, whose HDF5 files hold `scribble` (4 where nothing was drawn, which is
99 % of the voxels) beside `label`. Training sees nothing of the full labels where a variant learns
from scribbles or boxes.
Run: python train.py --config=configs/scribbles_acdc.py:dual_branch --workdir=runs/scribbles
     python train.py --config=configs/scribbles_acdc.py:gated_crf,published --workdir=...
Variants: partial, partial_dice, entropy, gated_crf, dual_branch; simulated (scribbles drawn on the
full labels), slices (every third slice labelled), boxes; full (all labels, the ceiling). Protocols
as in configs/few_labels.py: cpu (a run of minutes on one core), or published.
"""

import pathlib

from jaxseg import defaults
from jaxseg.build import lookup
from jaxseg.config.file import load_config

SCRIBBLES = {
  "data.fields": dict(scribble=dict(name="h5", key="scribble", unknown=4)),
  "data.annotation": "scribble",
  "loss": dict(cross_entropy=dict()),
}

# variant -> the fields that it sets, by path
VARIANTS = {
  "full": {},
  "partial": SCRIBBLES,
  "partial_dice": SCRIBBLES | {"loss": dict(cross_entropy=dict(), dice=dict(batch=True))},
  "entropy": SCRIBBLES
  | {"loss": dict(cross_entropy=dict(), entropy=dict(weight=0.1, include_ignored=True))},
  "gated_crf": SCRIBBLES | {"loss": dict(cross_entropy=dict(), gated_crf=dict(weight=0.1))},
  "dual_branch": SCRIBBLES
  | {"method": dict(name="dual_branch", consistency=0.5), "network.second_decoder": 0.5},
  "simulated": SCRIBBLES | {"data.fields": dict(scribble=dict(name="strokes", width=3))},
  "slices": {
    "data.fields": dict(scribble=dict(name="slices", every=3)),
    "data.annotation": "scribble",
  },
  "boxes": {
    "data.fields": dict(box=dict(name="label_boxes", axis=0)),
    "data.annotation": "box",
    "augment.spatial": None,
    "loss": dict(
      box_emptiness=dict(),
      box_tightness=dict(weight=0.1),
      box_size=dict(weight=0.1, bounds=(0.3, 0.9)),
    ),
  },
}


# the window and kernel of WSL4MIS at 256x256, and a quarter of it; 0.1 of the range of intensities
WINDOWS = {
  "cpu": dict(radius=2, kernels=(dict(position=1.5, intensity=0.1),)),
  "published": dict(radius=5, kernels=(dict(position=6.0, intensity=0.1),)),
}


def get_config(wanted="partial"):
  variant, _, protocol = wanted.partition(",")
  changes = lookup(VARIANTS, variant, "variant")
  home = pathlib.Path(__file__).with_name("few_labels.py")
  config = load_config(f"{home}:supervised,labelled=70,protocol={protocol or 'cpu'}")
  defaults.assign(config, changes)
  if "gated_crf" in config.loss:
    config.loss.gated_crf.update(WINDOWS[protocol or "cpu"])
  return config
