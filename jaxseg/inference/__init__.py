"""From patches to whole cases: predictors (apply, case, *, options) -> (*space, k) logits.

`apply` is one patch's network, {"image", "spacing", ...} -> {"logits"}, compiled for one shape.
`segmentation` takes what predictors give to the case's own grid, alone or as an ensemble.
"""

from jaxseg.inference.boxed import boxed
from jaxseg.inference.case import Case
from jaxseg.inference.interactive import Focus, interactive
from jaxseg.inference.planes import slices
from jaxseg.inference.windows import sliding_window

PREDICTORS = {
  "sliding_window": sliding_window,
  "slices": slices,
  "boxed": boxed,
  "interactive": interactive,
}

__all__ = [
  "PREDICTORS",
  "Case",
  "Focus",
  "boxed",
  "interactive",
  "slices",
  "sliding_window",
]
