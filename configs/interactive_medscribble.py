"""Scribbles of three people on images of six tasks, each task unseen by the network it is given to.

Paper: Wong et al., ScribblePrompt (arXiv 2312.07381); data: MedScribble, of the same authors.
Data: ../shared/data/medscribble, 28 images of 6 tasks; `python benchmarks/interactive.py train`
writes them as files in runs/medscribble first, which is what is read here.
Run: python train.py --config=configs/interactive_medscribble.py:scribbleprompt,without=acdc
--workdir=runs/medscribble_acdc
After the colon: the method; without=TASK, the task that validates and none of whose images train
(acdc, btcv, chaos, oasis, octa500 or stare); protocol=cpu, some 5 minutes of one core, or
"published", the paper's network and number of answers, for an accelerator.
"""

from jaxseg import defaults
from jaxseg.build import suggestion

TASKS = ("acdc", "btcv", "chaos", "oasis", "octa500", "stare")
METHODS = ("scribbleprompt",)
PROTOCOLS = ("cpu", "published")
# names of the images, by task: what a split names
CASES = {
  "acdc": [f"acdc_patient{n}_axis2_maxslice" for n in ("004", "017", "018", "050", "056")],
  "btcv": [
    f"btcv_{n}-Image_axis1_maxslice"
    for n in ("0763890", "2609008", "5176452", "5502532", "8745574")
  ],
  "chaos": [f"chaos_{n}_axis0_midslice" for n in (19, 22, 28, 30)],
  "oasis": [
    f"oasis_OASIS_OAS1_{n}_MR1_axis2_midslice" for n in ("0066", "0142", "0183", "0209", "0370")
  ],
  "octa500": [f"octa500_{n}_axis0_midslice" for n in (10023, 10029, 10052, 10080, 10159)],
  "stare": [f"stare_im{n}_axis0_midslice" for n in ("0044", "0082", "0239", "0255")],
}
FOLDER = "runs/medscribble"


def get_config(words="scribbleprompt"):
  method, *rest = words.split(",")
  if method not in METHODS:
    raise ValueError(
      f"'{method}' is no method of this config{suggestion(method, METHODS)}; choices: "
      f"{', '.join(METHODS)}."
    )
  initial = {"without": "acdc", "protocol": "cpu"}
  values = defaults.arguments(rest, initial, "METHOD")
  for name, choices in (("without", TASKS), ("protocol", PROTOCOLS)):
    if values[name] not in choices:
      raise ValueError(
        f"{name}={values[name]}: is unknown{suggestion(values[name], choices)}; choices: "
        f"{', '.join(choices)}."
      )
  config = defaults.config()
  config.steps = 500
  # a part of the samples without a mark: the network is asked without one, too
  config.method = dict(name=method, answers=2, automatic=0.3)
  config.network = dict(name="unet", widths=(12, 24, 48, 96), norm="instance")
  config.loss = dict(dice=dict(), cross_entropy=dict())
  config.optimiser.learning_rate = 2e-3
  config.average = 0.99

  config.data.source = dict(
    name="paired_folder",
    images=f"{FOLDER}/images",
    masks=f"{FOLDER}/labels",
    names=("background", "object"),
  )
  config.data.split = dict(name="explicit", validation=tuple(CASES[values["without"]]))
  config.data.normalise = dict(name="minmax")
  config.data.patch = (128, 128)
  config.data.batch = 4
  config.augment = dict(
    spatial=dict(rotation=180.0, scale=(0.7, 1.4)),
    brightness=dict(),
    contrast=dict(),
    gamma=dict(),
    mirror=dict(),
  )
  config.predictor = dict(name="interactive", zoom=4.0)
  config.evaluate.every = 500
  if values["protocol"] == "published":
    config.steps = 100_000
    config.method = dict(name=method, automatic=0.1)
    config.network = dict(name="scribble_unet")
    config.optimiser.name = "adam"
    config.optimiser.learning_rate = 1e-4
    config.average = 0.0
    config.data.batch = 8
    config.evaluate.every = 5_000
  return config
