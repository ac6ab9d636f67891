"""RITM: clicks of a user who looks at the network's answers, and the answer before as an input."""

from collections.abc import Mapping, Sequence
from typing import Any

import optax
from flax import linen as nn

from jaxseg.interaction import simulate
from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods.labelled import supervision
from jaxseg.methods.prompted import Turns, User, prompted, prompts_of
from jaxseg.schedules import Schedule

# disks of five voxels and the mask before: three channels of two classes
PROMPTS = {"points": {"name": "disk", "radius": 5.0}, "previous": "probabilities"}


def ritm(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  auxiliary_loss: Loss | None = None,
  *,
  prompts: Mapping[str, Any] = PROMPTS,
  turns: int = 3,
  points: int = 24,
  decline: float = 0.8,
  threshold: float = 0.49,
  automatic: float = 0.0,
  head_decay: float = 0.5,
  head_weights: Sequence[float] | None = None,
  auxiliary: float | Schedule = 1.0,
  sigmoid: bool = False,
) -> Method:
  """Iterative training with mask guidance (Sofiiuk et al. 2021, 2102.06583).

  A user clicks some voxels of each class; then, 0 to `turns` times, looks at the answer and clicks
  into its largest error (`interaction.next_click`). The network sees all clicks and the answer
  before, and learns from its last answer. RITM's loss is "normalized_focal", and of the auxiliary
  head of its network, which finds the classes' areas, cross entropy with weight 0.4:
  config.losses.auxiliary=dict(cross_entropy=dict()), config.method.head_weights=(1.0, 0.4).

  Args:
    network: one whose size of output is the input's; RITM's is `hrnet_ocr`.
    loss: (logits, Target) -> scalar.
    optimiser: an Optax transformation.
    auxiliary_loss: of all heads but the finest; None is `loss`.
    prompts: what the network sees, see `interaction.encoding`.
    turns: at most so many clicks after the first ones, the same number for a batch.
    points: at most so many first clicks of a class.
    decline: one more first click is so likely, see `simulate.first_clicks`.
    threshold: of two classes, of the foreground's probability.
    automatic: share of the samples that are shown nothing, so that the network also segments
      without a click; RITM's is 0.
    head_decay, head_weights, auxiliary: see `supervised`.
    sigmoid: labels are regions, which is refused.
  """
  of = prompts_of(prompts, "ritm", sigmoid=sigmoid, points="disk")
  classes = network.classes

  def begin(key, truth, weight):
    user = simulate.nothing(truth.shape, classes=classes, points=classes * points + turns)
    clicks = simulate.first_clicks(
      key, truth, weight, classes=classes, most=points, decline=decline
    )
    return simulate.with_points(user, *clicks)

  def correct(key, user, truth, weight, logits):
    user = simulate.next_turn(user, of.decay)
    click = simulate.largest_error(key, truth, logits, weight, threshold=threshold)
    return simulate.with_points(user, *(of[None] for of in click))

  return prompted(
    network,
    supervision(
      loss,
      decay=head_decay,
      weights=head_weights,
      auxiliary=auxiliary,
      auxiliary_loss=auxiliary_loss,
    ),
    optimiser,
    User(begin, correct),
    of,
    turns=Turns(turns, automatic=automatic),
  )
