"""Training schemes: who is trained against what."""

from jaxseg.methods import (
  averaged,
  cascaded,
  detected,
  ensemble,
  regression,
  rematerialised,
  supervised,
)

METHODS = {
  "supervised": supervised.supervised,
  "detected": detected.detected,
  "regression": regression.regression,
}

__all__ = [
  "METHODS",
  "averaged",
  "cascaded",
  "detected",
  "ensemble",
  "regression",
  "rematerialised",
  "supervised",
]
