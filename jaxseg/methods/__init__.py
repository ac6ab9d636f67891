"""Training schemes: who is trained against what."""

from jaxseg.methods import averaged, cascaded, detected, ensemble, supervised

METHODS = {
  "supervised": supervised.supervised,
  "detected": detected.detected,
}

__all__ = ["METHODS", "averaged", "cascaded", "detected", "ensemble", "supervised"]
