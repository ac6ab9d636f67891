"""Segmentation that a user corrects: methods of clicks, scribbles and boxes, on three small sets.

Papers: each method has its own in its docstring. Sets: sunnybrook_lv (left ventricle; Radau et al.,
2009), busi (breast lesions; Al-Dhabyani et al., 2020), msd_hippocampus (volumes; 2106.05735).
Data: ../shared/data.
Run: python train.py --config=configs/interactive.py:ritm --workdir=runs/interactive
     python train.py --config=configs/interactive.py:deepedit,data=msd_hippocampus ...
     jaxseg interact runs/interactive --input IMAGES --label LABELS --simulate 10 --output out
After the method, separated by commas: data (sunnybrook_lv), protocol ("cpu": small images and
networks, some minutes of one core; "published": each paper's network and maps, for an accelerator).
The table of all of them: python benchmarks/interactive.py (docs/interactive.md).
"""

from jaxseg import defaults
from jaxseg.build import suggestion

FOLDER = "../shared/data"
# a share of the samples without a mark, so that every method also segments by itself
ALONE = 0.2
CE_AND_DICE = dict(cross_entropy=dict(weight=1.0), dice=dict(weight=1.0, include_background=False))

# method -> the fields of the config that it sets, by path; "supervised" is the automatic floor
METHODS = {
  "supervised": {},
  "ritm": {
    "method": dict(name="ritm", automatic=ALONE),
    # its focal loss alone finds small objects late without a click
    "loss": dict(normalized_focal=dict(weight=1.0), dice=dict(weight=1.0)),
  },
  "deepedit": {"method": dict(name="deepedit", clicks=3)},
  "deepigeos": {
    "method": dict(name="deepigeos"),
    "networks": dict(proposal=dict(name="pnet")),
  },
  "nninteractive": {"method": dict(name="nninteractive", automatic=ALONE)},
  "scribbleprompt": {
    "method": dict(name="scribbleprompt", automatic=ALONE),
    "loss": dict(focal=dict(weight=20.0), dice=dict(weight=1.0)),
  },
}
# lines, centre lines and contours of planes, five answers a step: of images, as its paper
WITHOUT = {("msd_hippocampus", "scribbleprompt")}


def _pictures(name, label, masks="masks"):
  return dict(
    name="paired_folder",
    images=f"{FOLDER}/{name}/images",
    masks=f"{FOLDER}/{name}/{masks}",
    names=("background", label),
    values=(0, 255),
    channels=("grey",),
  )


DATA = {
  "sunnybrook_lv": {
    "data.source": _pictures("sunnybrook_lv", "left ventricle", "labels"),
    # a patient's slices stay together
    "data.split": dict(name="kfold", folds=5, group=r"SC-(.+)-IM"),
  },
  "busi": {
    "data.source": _pictures("busi", "lesion"),
    "data.split": dict(name="kfold", folds=5),
  },
  "msd_hippocampus": {
    "data.source": dict(name="nnunet_raw", path=f"{FOLDER}/msd_hippocampus"),
    "data.split": dict(name="kfold", folds=5),
  },
}
VOLUMES = ("msd_hippocampus",)
PROTOCOLS = ("cpu", "published")
ARGUMENTS = {"data": "sunnybrook_lv", "protocol": "cpu"}

# of small images: a click is as large beside an object as on the papers' images
SMALL_MAPS = {
  "ritm": dict(points=dict(name="disk", radius=2.0), previous="probabilities"),
  "deepedit": dict(points=dict(name="gaussian", sigma=1.5)),
  "nninteractive": dict(
    points=dict(name="ball", radius=2),
    boxes="all",
    strokes="apart",
    thickness=1.0,
    previous="mask",
    decay=0.98,
  ),
}
SMALL_PNET = dict(name="pnet", features=8, dropout=0.0)


def get_config(wanted="ritm"):
  method, data, protocol = _arguments(wanted)
  config = defaults.config()
  config.loss = CE_AND_DICE
  config.data.normalise = "zscore"
  config.predictor = dict(name="interactive", zoom=4.0)
  turned = dict(rotation=15.0, scale=(0.8, 1.25))
  config.augment = dict(spatial=turned, brightness=dict(), contrast=dict(), gamma=dict())
  defaults.assign(config, DATA[data])
  defaults.assign(config, METHODS[method])
  (_cpu if protocol == "cpu" else _published)(config, method, data in VOLUMES)
  # what is unseen is looked at once, at the end
  config.evaluate.every = config.steps
  config.checkpoint_every = max(1, config.steps // 4)
  return config


def _cpu(config, method, volumes):
  config.optimiser.learning_rate = 3e-3
  if volumes:
    # after 300 a click mended a fifth of the errors beside it (ritm), or spoiled all (deepigeos)
    config.steps, config.data.batch, config.data.patch = 1200, 2, (32, 48, 32)
    config.network = dict(name="unet", widths=(8, 16, 32, 64), norm="instance")
  else:
    config.steps, config.data.batch, config.data.patch = 600, 4, (64, 64)
    config.data.resampling = dict(size=(64, 64), order=1, label_order=0)
    config.network = dict(name="unet", widths=(16, 32, 64, 128), norm="instance")
  if method in SMALL_MAPS:
    config.method["prompts"] = SMALL_MAPS[method]
  if method == "deepigeos":
    # of volumes one convolution for each dilation: at full resolution each costs what a U-Net does
    small = dict(SMALL_PNET, depth=1, dilations=(1, 2, 4, 8)) if volumes else SMALL_PNET
    config.network, config.networks = small, dict(proposal=small)
    config.method.update(least=5, every=20)
    if volumes:
      # the paper's user makes some 150 marks in such a volume, and who clicks once one
      config.method["partial"] = 0.9
  if method == "scribbleprompt":
    # Its network has no norms and its loss is mostly focal: in 400 steps hearts of other patients
    # are left out, whatever is marked (with a box Dice 0.48 by that loss, 0.87 by this one).
    config.method["answers"], config.steps, config.loss = 3, 400, CE_AND_DICE


def _published(config, method, volumes):
  config.steps, config.data.batch = 40_000, 2 if volumes else 16
  config.optimiser.name = "adam"
  config.optimiser.learning_rate = 5e-4
  config.optimiser.weight_decay = 0.0
  if volumes:
    config.data.patch = (40, 56, 40)
    config.network = dict(name="resenc_unet", widths=(32, 64, 128, 256), deep_supervision=0)
  else:
    config.data.patch = (256, 256)
    config.data.resampling = dict(size=(256, 256), order=1, label_order=0)
    config.network = dict(
      name="resenc_unet", widths=(32, 64, 128, 256, 512, 512, 512), deep_supervision=0
    )
  if method == "ritm" and not volumes:
    config.network = dict(name="hrnet_ocr", width=32, ocr_width=128, prompt_channels=3)
    # the areas' head learns by cross entropy, of weight 0.4
    config.method["head_weights"] = (1.0, 0.4)
    config.loss = dict(normalized_focal=dict(weight=1.0))
    config.losses = dict(auxiliary=dict(cross_entropy=dict()))
  if method == "deepigeos":
    features = dict(features=16, compress=4) if volumes else dict(features=64)
    pnet = dict(name="pnet", **features)
    config.network, config.networks = pnet, dict(proposal=pnet)
    # P-Net learns for half of the time, and R-Net then
    config.method["proposal_steps"] = config.steps // 2
  if method == "scribbleprompt":
    config.network = dict(name="scribble_unet")
    config.data.patch = (128, 128)
    config.data.resampling = dict(size=(128, 128), order=1, label_order=0)
    config.data.normalise, config.data.batch = "minmax", 8
    config.optimiser.learning_rate = 1e-4


def _arguments(wanted):
  """METHOD,data=SET,protocol=cpu -> the three; raises ValueError for what is none."""
  method, *words = wanted.split(",")
  if method not in METHODS:
    raise ValueError(
      f"'{method}' is no method of this table{suggestion(method, METHODS)}; choices: "
      f"{', '.join(METHODS)}."
    )
  choices = {"data": DATA, "protocol": PROTOCOLS}
  given = defaults.arguments(words, ARGUMENTS, "METHOD", choices)
  if (given["data"], method) in WITHOUT:
    raise ValueError(
      f"data={given['data']}: '{method}' is not tried on volumes here; expected "
      f"{' or '.join(name for name in DATA if name not in VOLUMES)}."
    )
  return method, given["data"], given["protocol"]
