"""Networks that judge: (b, *space, channels) -> {"score": ..., features}."""

from jaxseg.networks.critics.fully_convolutional_critic import FullyConvolutionalCritic
from jaxseg.networks.critics.multi_scale_critic import MultiScaleCritic
from jaxseg.networks.critics.patch_critic import PatchCritic
from jaxseg.networks.critics.residual_critic import ResidualCritic
from jaxseg.networks.critics.two_input_critic import TwoInputCritic

# config name -> network: a new critic is a new row
CRITICS = {
  "fully_convolutional_critic": FullyConvolutionalCritic,
  "multi_scale_critic": MultiScaleCritic,
  "patch_critic": PatchCritic,
  "residual_critic": ResidualCritic,
  "two_input_critic": TwoInputCritic,
}

__all__ = [
  "CRITICS",
  "FullyConvolutionalCritic",
  "MultiScaleCritic",
  "PatchCritic",
  "ResidualCritic",
  "TwoInputCritic",
]
