"""Training of a detector and a segmenter together; the boxes come from the labels."""

import jax.numpy as jnp
import optax

from jaxseg import batch as batch_module
from jaxseg.losses import Loss, deep_supervision
from jaxseg.losses.detection import box_loss, heat_map_loss
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.networks.blocks.boxes import encode
from jaxseg.networks.blocks.centre_detector import cell_boxes, centre_cells, heat_map
from jaxseg.networks.blocks.options import choice
from jaxseg.networks.blocks.regions import bounding_box
from jaxseg.networks.detect_then_segment import DetectThenSegment


def detected(
  network: DetectThenSegment,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  objects: str = "foreground",
  train_on: str = "truth",
  heat_weight: float = 1.0,
  box_weight: float = 1.0,
  head_decay: float = 0.5,
  freeze_statistics: bool = False,
) -> Method:
  """Minimises `loss` of the pasted logits + heat map loss + smooth L1 of the boxes.

  Args:
    network: `detect_then_segment`.
    loss: (logits, Target) -> scalar.
    optimiser: an Optax transformation.
    objects: "foreground": one box around all that is not background; "classes": one around each
      class (the network then wants as many `detections`). Connected components have no static
      number: several objects of one class share a box.
    train_on: the segmenter sees the "truth"'s boxes, or those "predicted".
    heat_weight, box_weight: of the detector's two losses.
    head_decay, freeze_statistics: see `supervised`.
  """
  if not isinstance(network, DetectThenSegment):
    raise ValueError(
      f"detected: trains the network 'detect_then_segment', got {type(network).__name__}; use the "
      "method 'supervised' for networks without a detector."
    )
  choice(objects, ("foreground", "classes"), "detected: objects")
  choice(train_on, ("truth", "predicted"), "detected: train_on")
  heads = deep_supervision(loss, decay=head_decay)

  def init(key, batch):
    step = jnp.zeros((), jnp.int32)
    return State(step, {"network": learner(network, optimiser, key, batch["image"])})

  def train_step(state, batch, key):
    current = state.learners["network"]
    target = batch_module.target(batch, state.step)
    regions = network.posterior == "sigmoid"
    boxes = true_boxes(target.labels, network.classes, objects=objects, regions=regions)
    given = (boxes,) if train_on == "truth" else ()

    def objective(params):
      outputs, stats = forward(
        network,
        params,
        current.stats,
        batch["image"],
        *given,
        key=key,
        update_stats=not freeze_statistics,
        train=True,
      )
      parts = {
        "segmentation_loss": heads([outputs["logits"], *outputs.get("aux", ())], target),
        "heat_loss": heat_map_loss(
          outputs["heat"], heat_map(boxes, outputs["heat"].shape[1:-1], network.stride)
        ),
        "box_loss": box_loss(*_coded(outputs["offsets"], boxes, network.stride)),
      }
      total = sum(
        weight * part
        for weight, part in zip((1.0, heat_weight, box_weight), parts.values(), strict=True)
      )
      return total, (stats, parts)

    updated, metrics = descend(optimiser, current, objective)
    return state.replace(step=state.step + 1, learners={"network": updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)


def true_boxes(labels, classes: int, *, objects: str = "foreground", regions: bool = False):
  """Labels (b, *space) int, or (b, *space, classes) float -> boxes (b, k, 2 * rank) float32.

  k is 1, or with objects="classes" the number of classes, background left out; of `regions` none
  is background. What is absent has a box of no size.
  """
  if jnp.issubdtype(labels.dtype, jnp.floating):
    masks = (labels if regions else labels[..., 1:]) > 0.5
  else:
    masks = labels[..., None] == jnp.arange(1, classes).reshape((1,) * labels.ndim + (-1,))
  if objects == "foreground":
    masks = masks.any(-1, keepdims=True)
  masks = jnp.moveaxis(masks, -1, 1)
  flat = masks.reshape(-1, *masks.shape[2:])
  there = flat.any(tuple(range(1, flat.ndim)))[:, None]
  return jnp.where(there, bounding_box(flat), 0).reshape(*masks.shape[:2], -1).astype(jnp.float32)


def _coded(offsets, boxes, stride):
  """Of each box: what its centre's cell says, what it should say (b, k, 2 * rank), and whether."""
  cells = offsets.shape[1:-1]
  places = jnp.moveaxis(centre_cells(boxes, cells, stride), -1, 0)
  index = jnp.ravel_multi_index(tuple(places), cells, mode="clip")[..., None]
  references = jnp.take(cell_boxes(cells, stride).reshape(-1, boxes.shape[-1]), index[..., 0], 0)
  said = jnp.take_along_axis(offsets.reshape(len(offsets), -1, boxes.shape[-1]), index, 1)
  rank = len(cells)
  there = (boxes[..., rank:] > boxes[..., :rank]).all(-1)
  return said, encode(jnp.where(there[..., None], boxes, references), references), there
