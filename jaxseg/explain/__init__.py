"""Why a network said so: maps of what a score depends on, and how far they can be believed.

Most methods are functions of (apply, params, image, target) and options, see `target`; those of
kind `ANSWERS` look at a whole scan's answers. A file each.
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxseg.explain import answers, class_activation
from jaxseg.explain.attention import attention
from jaxseg.explain.class_activation import at_layer
from jaxseg.explain.class_activation import class_activation as cam
from jaxseg.explain.gradient import gradient
from jaxseg.explain.guided import deconvolution, guided
from jaxseg.explain.guided_grad_cam import guided_grad_cam
from jaxseg.explain.integrated_gradients import integrated_gradients
from jaxseg.explain.occlusion import occlusion
from jaxseg.explain.smooth_grad import smooth_grad

# what a method needs beside the target: nothing, a layer, the layer that gives the scores, an
# attention map; or no target at all
IMAGE, LAYER, HEAD, ATTENTION, ANSWERS = "image", "layer", "head", "attention", "answers"


class Method(NamedTuple):
  """A way to explain.

  Attributes:
    function: the method.
    kind: what it needs, see above.
    channels: how the values of an image's channels become one: "sum" or "largest" absolute value.
    signed: values below 0 speak against the target.
  """

  function: Callable
  kind: str = IMAGE
  channels: str = "sum"
  signed: bool = False


_GRAD_CAM = at_layer(class_activation.grad_cam)
METHODS: dict[str, Method] = {
  "gradient": Method(gradient, channels="largest"),
  "guided": Method(guided, channels="largest"),
  "deconvolution": Method(deconvolution, channels="largest"),
  "smooth_grad": Method(smooth_grad, channels="largest"),
  "integrated_gradients": Method(integrated_gradients, signed=True),
  "cam": Method(cam, HEAD, signed=True),
  "grad_cam": Method(_GRAD_CAM, LAYER),
  # a target is a set of voxels for every method, which is all that the two differ by
  "seg_grad_cam": Method(_GRAD_CAM, LAYER),
  "grad_cam_plus_plus": Method(at_layer(class_activation.grad_cam_plus_plus), LAYER),
  "hires_cam": Method(at_layer(class_activation.hires_cam), LAYER),
  "layer_cam": Method(at_layer(class_activation.layer_cam), LAYER),
  "guided_grad_cam": Method(guided_grad_cam, LAYER, channels="largest"),
  "occlusion": Method(occlusion, signed=True),
  "attention": Method(attention, ATTENTION),
  "entropy": Method(answers.entropy, ANSWERS),
  "monte_carlo_dropout": Method(answers.monte_carlo_dropout, ANSWERS),
  "ensemble": Method(answers.ensemble, ANSWERS),
  "temperature": Method(answers.temperature, ANSWERS),
}
