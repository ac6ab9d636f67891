"""Interactive methods on MedScribble: five of its six tasks train, the one left out validates.

Paper: Wong et al., ScribblePrompt (arXiv 2312.07381), whose three annotators scribbled on these 28
images of hearts, cervices, livers, brains and vessels.
Data: ../shared/data/medscribble, image and mask of a case in one .npz.
Run: python train.py --config=configs/interactive_medscribble.py:scribbleprompt,without=chaos ...
After the method, separated by commas: without (the task that validates), protocol ("cpu", some
minutes of one core, or "published").
"""

import runpy
from pathlib import Path

from jaxseg import defaults
from jaxseg.build import suggestion

_TABLE = runpy.run_path(str(Path(__file__).with_name("interactive.py")))
FOLDER = "../shared/data/medscribble"
METHODS = ("scribbleprompt", "ritm", "nninteractive")
# task -> its images
CASES = {
  "acdc": tuple(f"acdc_patient{n:03}_axis2_maxslice" for n in (4, 17, 18, 50, 56)),
  "btcv": tuple(
    f"btcv_{n}-Image_axis1_maxslice"
    for n in ("0763890", "2609008", "5176452", "5502532", "8745574")
  ),
  "chaos": tuple(f"chaos_{n}_axis0_midslice" for n in (19, 22, 28, 30)),
  "oasis": tuple(f"oasis_OASIS_OAS1_{n:04}_MR1_axis2_midslice" for n in (66, 142, 183, 209, 370)),
  "octa500": tuple(f"octa500_{n}_axis0_midslice" for n in (10023, 10029, 10052, 10080, 10159)),
  "stare": tuple(f"stare_im{n:04}_axis0_midslice" for n in (44, 82, 239, 255)),
}
ARGUMENTS = {"without": "chaos", "protocol": "cpu"}


def get_config(wanted="scribbleprompt"):
  method, *words = wanted.split(",")
  if method not in METHODS:
    raise ValueError(
      f"'{method}' is no method of this table{suggestion(method, METHODS)}; choices: "
      f"{', '.join(METHODS)}."
    )
  choices = {"without": CASES, "protocol": _TABLE["PROTOCOLS"]}
  given = defaults.arguments(words, ARGUMENTS, "METHOD", choices)
  config = _TABLE["get_config"](f"{method},protocol={given['protocol']}")
  config.data.source = dict(
    name="paired_folder",
    images=FOLDER,
    masks=FOLDER,
    image_pattern="*.npz",
    mask_pattern="{case}.npz",
    names=("background", "object"),
    values=(0, 1),
    channels=("grey",),
  )
  config.data.split = dict(name="explicit", validation=CASES[given["without"]])
  config.augment = dict(
    spatial=dict(rotation=180.0, scale=(0.7, 1.4)),
    brightness=dict(),
    contrast=dict(),
    gamma=dict(),
    mirror=dict(),
  )
  return config
