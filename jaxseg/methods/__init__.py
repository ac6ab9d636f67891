"""Training schemes: who is trained against what."""

from jaxseg.methods import (
  averaged,
  cascaded,
  detected,
  distillation,
  dual_branch,
  ensemble,
  entropy_minimisation,
  mean_teacher,
  pseudo_label,
  regression,
  rematerialised,
  supervised,
  uncertainty_mean_teacher,
)
from jaxseg.methods.needs import Needs

METHODS = {
  "supervised": supervised.supervised,
  "detected": detected.detected,
  "distillation": distillation.distillation,
  "dual_branch": dual_branch.dual_branch,
  "regression": regression.regression,
  "pseudo_label": pseudo_label.pseudo_label,
  "entropy_minimisation": entropy_minimisation.entropy_minimisation,
  "mean_teacher": mean_teacher.mean_teacher,
  "uncertainty_mean_teacher": uncertainty_mean_teacher.uncertainty_mean_teacher,
}

# what the loop must feed a method beside images and labels
_UNLABELLED = Needs(streams=("unlabelled",))
NEEDS: dict[str, Needs] = {
  "pseudo_label": _UNLABELLED,
  "entropy_minimisation": _UNLABELLED,
  "mean_teacher": _UNLABELLED,
  "uncertainty_mean_teacher": _UNLABELLED,
}

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
  "entropy_minimisation",
  "mean_teacher",
  "pseudo_label",
  "regression",
  "rematerialised",
  "supervised",
  "uncertainty_mean_teacher",
]
