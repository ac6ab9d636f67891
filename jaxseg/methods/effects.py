"""Options of methods that act together with another one alone, and parts that learn for a while."""

from typing import NamedTuple


class Acts(NamedTuple):
  """When an option has an effect.

  Attributes:
    option: its name; "optimisers.KEY" of an optimiser.
    other: the option of the same method that it needs.
    values: words of `other` with which it acts; () where `other` is a number that must not be 0: a
      weight, or a probability.
  """

  option: str
  other: str
  values: tuple[str, ...] = ()


_MIXING = (Acts("cutmix", "consistency"), Acts("area", "cutmix"))
_OF_TEACHERS = (Acts("noise_limit", "noise"), Acts("noise", "consistency"), *_MIXING)
EFFECTS: dict[str, tuple[Acts, ...]] = {
  "edge_supervision": (Acts("radius", "edge_weight"),),
  "adversarial": (
    Acts("least", "inputs", ("scaling",)),
    Acts("include_background", "inputs", ("product",)),
  ),
  "hung": (Acts("threshold", "semi"),),
  "cyclegan": (Acts("identity", "cycle"),),
  "synseg": (Acts("identity", "cycle"),),
  "pseudo_label": (Acts("threshold", "weight"),),
  "entropy_minimisation": (Acts("images", "weight"),),
  "mean_teacher": _OF_TEACHERS,
  "uncertainty_mean_teacher": (
    *_OF_TEACHERS,
    Acts("passes", "consistency"),
    Acts("threshold", "consistency"),
  ),
  "fixmatch": (Acts("threshold", "consistency"),),
  "unimatch": (
    Acts("threshold", "consistency"),
    Acts("channel_rate", "feature_weight"),
    Acts("cutmix", "image_weight"),
    Acts("area", "cutmix"),
  ),
  "cross_pseudo": _MIXING,
  "copy_paste": (Acts("largest_component", "unlabelled_weight"),),
  "dual_branch": (Acts("alpha", "consistency"),),
  "restyled": (Acts("band", "style", ("fourier",)), Acts("style", "p")),
  "mmd": tuple(Acts(option, "weight") for option in ("features", "grid", "bandwidths")),
  "distillation": (
    Acts("temperature", "logits"),
    Acts("places_temperature", "places"),
    Acts("optimisers.regressor", "features"),
  ),
  "unpaired": (Acts("temperature", "distillation"),),
  "dints": (Acts("topology", "terms"), Acts("memory", "terms")),
}


class Stage(NamedTuple):
  """A part of a method that learns in some of the steps alone.

  Attributes:
    option: the number of the first steps, of a method's options; 0 is no such stage.
    first: the part learns in these, else in all others.
    learner: the key of its optimiser, whose schedule is as long as the part learns; "" where
      several learn, or the schedule is as long as training.
    words: what would be if it never did.
  """

  option: str
  first: bool
  learner: str
  words: str


_CHOICES = Stage("warm_up", False, "", "nothing would be chosen")
STAGES: dict[str, tuple[Stage, ...]] = {
  "deepigeos": (
    Stage("proposal_steps", True, "proposal", "the proposal would never learn"),
    Stage("proposal_steps", False, "optimiser", "the network that answers prompts never learns"),
  ),
  **dict.fromkeys(("darts", "gdas", "fairdarts", "dints"), (_CHOICES,)),
}
