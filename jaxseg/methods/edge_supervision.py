"""Supervised training of a network that says where objects' edges are, too."""

import optax
from flax import linen as nn

from jaxseg.losses import Loss
from jaxseg.losses.edges import edge_loss
from jaxseg.method import Method
from jaxseg.methods.labelled import fitting, value
from jaxseg.schedules import Schedule


def edge_supervision(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  edge_weight: float | Schedule = 1.0,
  radius: float = 2.0,
  sigmoid: bool = False,
  freeze_statistics: bool = False,
) -> Method:
  """Minimises `loss` of the logits + edge_weight * binary cross entropy of the edges: SAUNet's.

  The edges' truth is made from the labels, `losses.edges`; the image has no part in it.
  Where a patch cuts an object the cut counts as an edge, as the image's border does: patches are
  best whole images.

  Args:
    network: one that gives {"logits", "edge_logits"}, as `shape_attentive`.
    loss: (logits, Target) -> scalar; the paper's is cross entropy with class weights + Dice.
    optimiser: an Optax transformation.
    edge_weight: of the edges' loss, or a schedule of it.
    radius: half the width of an edge in voxels, the paper's 2.
    sigmoid: labels are regions.
    freeze_statistics: see `supervised`.

  Raises ValueError for a network that gives no edges, and for a radius below 1.
  Source: Sun et al., arXiv 2001.07645.
  """
  if not getattr(network, "gives_edges", False):
    raise ValueError(
      f"edge_supervision: the network {type(network).__name__} gives no 'edge_logits'; take "
      "'shape_attentive', or the method 'supervised' for other networks."
    )
  if radius < 1:
    raise ValueError(f"edge_supervision: radius={radius}; expected at least 1 voxel.")

  def objective(outputs, target):
    logits, weight = outputs["logits"], value(edge_weight, target.step)
    segmentation = loss(logits, target)
    edges = edge_loss(
      outputs["edge_logits"], target, logits.shape[-1], radius=radius, sigmoid=sigmoid
    )
    parts = {"segmentation_loss": segmentation, "edge_loss": edges}
    return segmentation + weight * edges, parts

  return fitting(network, objective, optimiser, freeze_statistics=freeze_statistics)
