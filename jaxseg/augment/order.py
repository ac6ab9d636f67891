"""Every transform by its name, in the order in which a chain of names applies them.

nnU-Net's order (arXiv 1809.10486). What it lacks stands where a scan has it: the scanner's
artefacts before its noise, windows among contrasts, what is taken away after all values: but
modalities before anything fills those that a case lacks.
"""

from jaxseg.augment import intensity, mixing, modalities, mri_artefacts, priors, regions, resolution
from jaxseg.augment.geometry import spatial
from jaxseg.augment.mirroring import mirror, quarter_turn

AUGMENTATIONS = {
  "spatial": spatial,
  "find_body": regions.find_body,
  "modality_dropout": modalities.modality_dropout,
  "bias_field": mri_artefacts.bias_field,
  "ghosting": mri_artefacts.ghosting,
  "gibbs": mri_artefacts.gibbs,
  "noise": intensity.noise,
  "blur": resolution.blur,
  "brightness": intensity.brightness,
  "contrast": intensity.contrast,
  "intensity_window": intensity.intensity_window,
  "low_resolution": resolution.low_resolution,
  "gamma_inverted": intensity.gamma_inverted,
  "gamma": intensity.gamma,
  "channel_dropout": regions.channel_dropout,
  "cutout": regions.cutout,
  "mask_body": regions.mask_body,
  "mirror": mirror,
  "quarter_turn": quarter_turn,
  "prior_morphology": priors.prior_morphology,
  "prior_components": priors.prior_components,
}

# these act on a whole batch, after the others
MIXTURES = {
  "cutmix": mixing.cutmix,
  "mixup": mixing.mixup,
}
