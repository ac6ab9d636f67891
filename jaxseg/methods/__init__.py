"""Training schemes: who is trained against what."""

from collections.abc import Callable, Mapping

from jaxseg.method import Learner
from jaxseg.methods import (
  adabn,
  adversarial,
  averaged,
  by_domain,
  cascaded,
  copy_paste,
  cross_pseudo,
  cross_teaching,
  cyclegan,
  dan,
  darts,
  detected,
  dints,
  distillation,
  dual_branch,
  edge_supervision,
  ensemble,
  entropy_minimisation,
  fairdarts,
  feature_alignment,
  fixmatch,
  gdas,
  hung,
  joined,
  mask_gan,
  mask_vae,
  mean_teacher,
  mmd,
  modalities,
  pix2pix,
  pseudo_label,
  regression,
  rematerialised,
  restyled,
  sandwich,
  searching,
  sifa,
  supervised,
  synseg,
  teacher,
  translation,
  uncertainty_mean_teacher,
  unimatch,
  unpaired,
)
from jaxseg.methods.needs import Needs

METHODS = {
  "supervised": supervised.supervised,
  "detected": detected.detected,
  "edge_supervision": edge_supervision.edge_supervision,
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
  "adabn": adabn.adabn,
  "restyled": restyled.restyled,
  "mmd": mmd.mmd,
  "feature_alignment": feature_alignment.feature_alignment,
  "mask_gan": mask_gan.mask_gan,
  "mask_vae": mask_vae.mask_vae,
  "pix2pix": pix2pix.pix2pix,
  "sifa": sifa.sifa,
  "cyclegan": cyclegan.cyclegan,
  "synseg": synseg.synseg,
  "unpaired": unpaired.unpaired,
  "darts": darts.darts,
  "gdas": gdas.gdas,
  "fairdarts": fairdarts.fairdarts,
  "dints": dints.dints,
  "sandwich": sandwich.sandwich,
}
# those that search an architecture: they train a supernet, and no others do
SEARCHES = ("darts", "gdas", "fairdarts", "dints")

# what the loop must feed a method beside images and labels
_UNLABELLED = Needs(streams=("unlabelled",))
_TWO_DOMAINS = Needs(other_domains=(translation.TARGET,), signed=True)
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
  "adabn": _UNLABELLED,
  "restyled": _UNLABELLED,
  "mmd": _UNLABELLED,
  "feature_alignment": _UNLABELLED,
  "sifa": _TWO_DOMAINS._replace(task="segmentation"),
  "cyclegan": _TWO_DOMAINS._replace(task="translation"),
  "synseg": _TWO_DOMAINS._replace(task="segmentation"),
  "unpaired": Needs(domains=True),
  **dict.fromkeys(SEARCHES, Needs(held_back=(searching.ARCHITECTURE,))),
}

# what starts as another learner, whatever its weights were
_TEACHER = {teacher.TEACHER: teacher.STUDENT}
FOLLOWERS: dict[str, dict[str, str]] = {
  "mean_teacher": _TEACHER,
  "uncertainty_mean_teacher": _TEACHER,
  "copy_paste": _TEACHER,
}

# what is told of a method's learners before it begins, from their shapes
_NOTES: dict[str, Callable[[Learner], str]] = {"unpaired": by_domain.note}


def notes(method: str, learners: Mapping[str, Learner]) -> tuple[str, ...]:
  """Sentences about the learners of the method of that name."""
  return (_NOTES[method](learners["network"]),) if method in _NOTES else ()


__all__ = [
  "FOLLOWERS",
  "METHODS",
  "NEEDS",
  "SEARCHES",
  "Needs",
  "adabn",
  "adversarial",
  "averaged",
  "cascaded",
  "copy_paste",
  "cross_pseudo",
  "cross_teaching",
  "cyclegan",
  "dan",
  "darts",
  "detected",
  "dints",
  "distillation",
  "dual_branch",
  "edge_supervision",
  "ensemble",
  "entropy_minimisation",
  "fairdarts",
  "feature_alignment",
  "fixmatch",
  "gdas",
  "hung",
  "joined",
  "mask_gan",
  "mask_vae",
  "mean_teacher",
  "mmd",
  "modalities",
  "pix2pix",
  "pseudo_label",
  "regression",
  "rematerialised",
  "restyled",
  "sandwich",
  "sifa",
  "supervised",
  "synseg",
  "uncertainty_mean_teacher",
  "unimatch",
  "unpaired",
]
