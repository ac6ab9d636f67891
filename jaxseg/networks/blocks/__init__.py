"""What several networks share; rank-free, channels last."""

from jaxseg.networks.blocks.activation import ACTIVATIONS, Activation
from jaxseg.networks.blocks.conv import Conv, convolve
from jaxseg.networks.blocks.conv_lstm import BiConvLSTM, ConvLSTM, ConvLSTMSkip
from jaxseg.networks.blocks.glca import GLCA
from jaxseg.networks.blocks.graph import GraphConv, GraphPool, graph_unpool
from jaxseg.networks.blocks.initializers import he_normal
from jaxseg.networks.blocks.nonlocal_block import NonLocal
from jaxseg.networks.blocks.norm import NORMS, Norm
from jaxseg.networks.blocks.options import choice, need_rank, per_axis, per_stage
from jaxseg.networks.blocks.padding import centre_crop, crop_to, pad_to_multiple
from jaxseg.networks.blocks.recurrent import RecurrentBlock
from jaxseg.networks.blocks.regions import crop, paste
from jaxseg.networks.blocks.regularisers import DropBlock, StochasticDepth
from jaxseg.networks.blocks.resample import (
  UpConv,
  linear_up,
  max_pool,
  max_pool_with_positions,
  max_unpool,
)
from jaxseg.networks.blocks.resize import adaptive_pool, nearest_up, pool, resize
from jaxseg.networks.blocks.separable import SeparableConv
from jaxseg.networks.blocks.slicing import from_slices, to_slices
from jaxseg.networks.blocks.stage import CONVS, ConvNormAct, Dropout, Stage
from jaxseg.networks.blocks.transposed import TransposedConv

__all__ = [
  "ACTIVATIONS",
  "CONVS",
  "GLCA",
  "NORMS",
  "Activation",
  "BiConvLSTM",
  "Conv",
  "ConvLSTM",
  "ConvLSTMSkip",
  "ConvNormAct",
  "DropBlock",
  "Dropout",
  "GraphConv",
  "GraphPool",
  "NonLocal",
  "Norm",
  "RecurrentBlock",
  "SeparableConv",
  "Stage",
  "StochasticDepth",
  "TransposedConv",
  "UpConv",
  "adaptive_pool",
  "centre_crop",
  "choice",
  "convolve",
  "crop",
  "crop_to",
  "from_slices",
  "graph_unpool",
  "he_normal",
  "linear_up",
  "max_pool",
  "max_pool_with_positions",
  "max_unpool",
  "nearest_up",
  "need_rank",
  "pad_to_multiple",
  "paste",
  "per_axis",
  "per_stage",
  "pool",
  "resize",
  "to_slices",
]
