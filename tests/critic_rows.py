"""Of each critic: small options, and the channels of the inputs that it takes."""

from jaxseg.networks import CRITICS

SMALL = {
  "fully_convolutional_critic": {"widths": (4, 8)},
  "multi_scale_critic": {"widths": (4, 8, 8), "kernels": (7, 5, 4)},
  "patch_critic": {"widths": (4, 8)},
  "residual_critic": {"widths": (4, 8)},
  "two_input_critic": {"widths": (4, 8)},
}


def channels(name: str) -> tuple[int, ...]:
  """Of maps of three classes, and of the image for a critic that looks at it as well."""
  return (3, 2) if getattr(CRITICS[name], "two_inputs", False) else (3,)
