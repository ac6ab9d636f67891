"""What several networks share; rank-free, channels last."""

from jaxseg.networks.blocks.activation import ACTIVATIONS, Activation
from jaxseg.networks.blocks.conv import Conv, convolve
from jaxseg.networks.blocks.initializers import he_normal
from jaxseg.networks.blocks.norm import NORMS, Norm
from jaxseg.networks.blocks.options import choice, per_axis, per_stage
from jaxseg.networks.blocks.resample import (
  UpConv,
  linear_up,
  max_pool,
  max_pool_with_positions,
  max_unpool,
)
from jaxseg.networks.blocks.stage import ConvNormAct, Dropout, Stage

__all__ = [
  "ACTIVATIONS",
  "NORMS",
  "Activation",
  "Conv",
  "ConvNormAct",
  "Dropout",
  "Norm",
  "Stage",
  "UpConv",
  "choice",
  "convolve",
  "he_normal",
  "linear_up",
  "max_pool",
  "max_pool_with_positions",
  "max_unpool",
  "per_axis",
  "per_stage",
]
