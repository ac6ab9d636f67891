"""Training schemes: who is trained against what."""

from jaxseg.methods import (
  averaged,
  cascaded,
  detected,
  distillation,
  dual_branch,
  ensemble,
  regression,
  rematerialised,
  supervised,
)
from jaxseg.methods.needs import Needs

METHODS = {
  "supervised": supervised.supervised,
  "detected": detected.detected,
  "distillation": distillation.distillation,
  "dual_branch": dual_branch.dual_branch,
  "regression": regression.regression,
}

# what the loop must feed a method beside images and labels
NEEDS: dict[str, Needs] = {}

__all__ = [
  "METHODS",
  "NEEDS",
  "Needs",
  "averaged",
  "cascaded",
  "detected",
  "distillation",
  "dual_branch",
  "ensemble",
  "regression",
  "rematerialised",
  "supervised",
]
