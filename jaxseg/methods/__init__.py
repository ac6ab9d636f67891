"""Training schemes: who is trained against what."""

from jaxseg.methods import (
  adversarial,
  averaged,
  cascaded,
  copy_paste,
  cross_pseudo,
  cross_teaching,
  dan,
  detected,
  distillation,
  dual_branch,
  ensemble,
  entropy_minimisation,
  fixmatch,
  hung,
  mean_teacher,
  pseudo_label,
  regression,
  rematerialised,
  supervised,
  teacher,
  uncertainty_mean_teacher,
  unimatch,
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
  "copy_paste": copy_paste.copy_paste,
  "cross_pseudo": cross_pseudo.cross_pseudo,
  "cross_teaching": cross_teaching.cross_teaching,
  "fixmatch": fixmatch.fixmatch,
  "unimatch": unimatch.unimatch,
  "adversarial": adversarial.adversarial,
  "hung": hung.hung,
  "dan": dan.dan,
}

# what the loop must feed a method beside images and labels
_UNLABELLED = Needs(streams=("unlabelled",))
NEEDS: dict[str, Needs] = {
  "pseudo_label": _UNLABELLED,
  "entropy_minimisation": _UNLABELLED,
  "mean_teacher": _UNLABELLED,
  "uncertainty_mean_teacher": _UNLABELLED,
  "copy_paste": _UNLABELLED,
  "cross_pseudo": _UNLABELLED,
  "cross_teaching": _UNLABELLED,
  "fixmatch": _UNLABELLED,
  "unimatch": _UNLABELLED,
  "hung": _UNLABELLED,
  "dan": _UNLABELLED,
}

# what starts as another learner, whatever its weights were
_TEACHER = {teacher.TEACHER: teacher.STUDENT}
FOLLOWERS: dict[str, dict[str, str]] = {
  "mean_teacher": _TEACHER,
  "uncertainty_mean_teacher": _TEACHER,
  "copy_paste": _TEACHER,
}

__all__ = [
  "FOLLOWERS",
  "METHODS",
  "NEEDS",
  "Needs",
  "adversarial",
  "averaged",
  "cascaded",
  "copy_paste",
  "cross_pseudo",
  "cross_teaching",
  "dan",
  "detected",
  "distillation",
  "dual_branch",
  "ensemble",
  "entropy_minimisation",
  "fixmatch",
  "hung",
  "mean_teacher",
  "pseudo_label",
  "regression",
  "rematerialised",
  "supervised",
  "uncertainty_mean_teacher",
  "unimatch",
]
