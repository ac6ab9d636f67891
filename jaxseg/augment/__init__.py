"""Random transforms of one sample, on the device, inside the compiled step.

A transform is `(key, sample, *, options) -> sample`: a sample is a batch without its batch axis,
its fields act by their kind (`jaxseg.batch.FIELDS`), the rank is the sample's. All are pure,
keep shapes static, and run under jit and vmap. `chain` composes them, and
`batched` maps the chain over a batch. A new one is a function and a row in
`order.AUGMENTATIONS`, where its place is its place in a chain.
"""

from jaxseg.augment.chains import chain, mixture
from jaxseg.augment.geometry import crop_size, spatial
from jaxseg.augment.intensity import (
  brightness,
  contrast,
  gamma,
  gamma_inverted,
  intensity_window,
  noise,
)
from jaxseg.augment.mirroring import mirror, quarter_turn
from jaxseg.augment.mixing import cutmix, mixup
from jaxseg.augment.modalities import modality_dropout
from jaxseg.augment.mri_artefacts import bias_field, ghosting, gibbs
from jaxseg.augment.nnunet_recipe import nnunet
from jaxseg.augment.order import AUGMENTATIONS, MIXTURES
from jaxseg.augment.priors import prior_components, prior_morphology
from jaxseg.augment.regions import channel_dropout, cutout, find_body, mask_body
from jaxseg.augment.resolution import blur, low_resolution
from jaxseg.augment.views import VIEWS, View, view

__all__ = [
  "AUGMENTATIONS",
  "MIXTURES",
  "VIEWS",
  "View",
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
  "modality_dropout",
  "nnunet",
  "noise",
  "prior_components",
  "prior_morphology",
  "quarter_turn",
  "spatial",
  "view",
]
