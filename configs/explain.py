"""A small attention U-Net whose decisions docs/explain.md explains: hearts, or breast lesions.

Papers: Attention U-Net, 1804.03999; Sunnybrook: Radau et al., MIDAS Journal 2009; BUSI: Al-Dhabyani
et al., Data in Brief 2020.
Data: ../shared/data: left ventricles (sunnybrook_lv; a patient's slices stay together), lesions in
breast ultrasound (busi).
Run: python train.py --config=configs/explain.py:sunnybrook_lv --workdir=runs/explain/sunnybrook_lv
Scores and pictures: docs/explain.md; a run takes a few minutes of one core.
"""

from jaxseg import defaults
from jaxseg.build import suggestion

DATA = "../shared/data"
# set -> its class, the folder of its masks, how its cases are split
SETS = {
  "sunnybrook_lv": ("left ventricle", "labels", dict(folds=3, group=r"(SC-\w+-(?:N?I-)?\d+)-IM")),
  "busi": ("lesion", "masks", dict(folds=3)),
}


def get_config(name="sunnybrook_lv"):
  if name not in SETS:
    raise ValueError(
      f"'{name}' is no set of this config{suggestion(name, SETS)}; choices: {', '.join(SETS)}."
    )
  label, masks, split = SETS[name]
  config = defaults.config()
  config.steps = 600
  config.network = dict(
    name="attention_unet",
    widths=(8, 16, 32, 64),
    norm="instance",
    # open at the start: closed gates learn late
    skip=dict(name="attention_gate", psi_bias=3.0),
    # so that Monte Carlo dropout has something to drop
    dropout=0.1,
  )
  config.optimiser.learning_rate = 3e-3
  config.average = 0.98

  config.data.source = dict(
    name="paired_folder",
    images=f"{DATA}/{name}/images",
    masks=f"{DATA}/{name}/{masks}",
    names=("background", label),
    values=(0, 255),
    channels=("grey",),
  )
  config.data.split = dict(name="kfold", **split)
  config.data.resampling = dict(size=(96, 96), order=1, label_order=0)
  config.data.patch = (96, 96)
  config.data.batch = 4

  config.augment = dict(
    spatial=dict(rotation=30.0, scale=(0.8, 1.25)), brightness=dict(), contrast=dict(), gamma=dict()
  )
  config.evaluate.every = 300
  return config
