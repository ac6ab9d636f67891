"""Random transforms of one sample, on the device, inside the compiled step.

A transform is `(key, sample, *, options) -> sample`: a sample is a batch without its batch axis,
its fields act by their kind (`jaxseg.batch.FIELDS`), the rank is the sample's. All are pure,
keep shapes static, and run under jit and vmap. `chain` composes them, and
`jaxseg.augment.batched` maps the chain over a batch.
"""

from jaxseg.augment.composition import chain, mixture
from jaxseg.augment.geometry import crop_size, spatial
from jaxseg.augment.intensity import (
  brightness,
  contrast,
  gamma,
  gamma_inverted,
  intensity_window,
  noise,
)
from jaxseg.augment.mirroring import mirror
from jaxseg.augment.mixing import cutmix, mixup
from jaxseg.augment.priors import prior_components, prior_morphology
from jaxseg.augment.recipe import nnunet
from jaxseg.augment.regions import channel_dropout, cutout, find_body, mask_body
from jaxseg.augment.resolution import blur, low_resolution
from jaxseg.augment.scanner import bias_field, ghosting, gibbs

AUGMENTATIONS = {
  "spatial": spatial,
  "find_body": find_body,
  "bias_field": bias_field,
  "ghosting": ghosting,
  "gibbs": gibbs,
  "noise": noise,
  "blur": blur,
  "brightness": brightness,
  "contrast": contrast,
  "intensity_window": intensity_window,
  "low_resolution": low_resolution,
  "gamma_inverted": gamma_inverted,
  "gamma": gamma,
  "channel_dropout": channel_dropout,
  "cutout": cutout,
  "mask_body": mask_body,
  "mirror": mirror,
  "prior_morphology": prior_morphology,
  "prior_components": prior_components,
}

# these act on a whole batch, after the others
MIXTURES = {
  "cutmix": cutmix,
  "mixup": mixup,
}

__all__ = [
  "AUGMENTATIONS",
  "MIXTURES",
  "bias_field",
  "blur",
  "brightness",
  "chain",
  "channel_dropout",
  "contrast",
  "crop_size",
  "cutmix",
  "cutout",
  "find_body",
  "gamma",
  "gamma_inverted",
  "ghosting",
  "gibbs",
  "intensity_window",
  "low_resolution",
  "mask_body",
  "mirror",
  "mixture",
  "mixup",
  "nnunet",
  "noise",
  "prior_components",
  "prior_morphology",
  "spatial",
]
