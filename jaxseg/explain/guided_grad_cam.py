"""Guided Grad-CAM: guided back-propagation where Grad-CAM looks."""

from jaxseg.explain.class_activation import at_layer, grad_cam
from jaxseg.explain.guided import guided
from jaxseg.explain.target import Apply, Attribution


def guided_grad_cam(apply: Apply, params, image, target, *, layer: str, stride=()) -> Attribution:
  """Guided back-propagation times the enlarged Grad-CAM (arXiv 1610.02391), (b, *space, c)."""
  fine = guided(apply, params, image, target)
  where = at_layer(grad_cam)(apply, params, image, target, layer=layer, stride=stride)
  return Attribution(fine.values * where.values[..., None], fine.numbers)
