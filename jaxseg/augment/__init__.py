"""Random transforms of one sample, on the device, inside the compiled step.

A transform is `(key, sample, *, options) -> sample`: a sample is a batch without its batch axis,
its fields act by their kind (`jaxseg.batch.FIELDS`), the rank is the sample's. All are pure,
keep shapes static, and run under jit and vmap. `chain` composes them, and
`jaxseg.augment.batched` maps the chain over a batch.
"""

from jaxseg.augment.composition import chain
from jaxseg.augment.geometry import crop_size, mirror, spatial
from jaxseg.augment.intensity import brightness, contrast, gamma, noise

AUGMENTATIONS = {
  "spatial": spatial,
  "noise": noise,
  "brightness": brightness,
  "contrast": contrast,
  "gamma": gamma,
  "mirror": mirror,
}

__all__ = [
  "AUGMENTATIONS",
  "brightness",
  "chain",
  "contrast",
  "crop_size",
  "gamma",
  "mirror",
  "noise",
  "spatial",
]
