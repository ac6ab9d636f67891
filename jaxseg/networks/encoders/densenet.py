"""DenseNet 121, 161, 169 and 201 as a feature pyramid."""

from collections.abc import Sequence
from typing import Any, ClassVar

from flax import linen as nn

from jaxseg.networks.blocks import Activation, Conv, Norm, pool
from jaxseg.networks.blocks.dense import DenseBlock, Scale
from jaxseg.networks.encoders.dilation import dilated
from jaxseg.networks.encoders.inputs import IMAGENET, Colours, standardised


class DenseNet(nn.Module):
  """DenseNet: a 7x7 stem, max-pooling, dense blocks, and between them transitions.

  Shapes: (b, *space, channels) -> the stem's features (stride 2), then each dense block's after
  its norm and activation (strides 4, 8, 16, 32). A transition halves the channels (1x1
  convolution) and the size (average).

  Attributes:
    blocks: layers per dense block; less than four for a smaller pyramid.
    growth: new features per layer.
    width: channels of the stem.
    bottleneck: width of a layer's 1x1 convolution in growths.
    compression: channels that a transition keeps.
    output_stride: of the coarsest features, 8, 16 or 32; None leaves all strides. A transition that
      would be coarser does not pool, so that features stay in the middle of their voxels, and the
      blocks that follow are dilated. Needs transition_stride=2.
    dropout: at the end of each dense layer.
    inputs: what the image is, "as_is", "unit" or "zscore": see `encoders.inputs`.
    norm, norm_groups, activation: as `blocks.Norm` and `blocks.Activation`.
    dtype: compute dtype.
    transition_stride: of the pooling in the transitions, an integer or one per axis.
    before_norm: gives all but the coarsest block's features as they are before norm and activation.
    epsilon: what the norms add to the variance.
    scale_layers: a `Scale` after every norm, as Caffe's DenseNets have.
    plain_stem: the stem ends with its norm: no activation, no max-pooling (strides 2, 4, 8, 16).
    after_transitions: gives each transition's features instead of the block's before it, and the
      last block's after its norm alone (strides 8, 16, 32, 32; after a plain stem half of each).

  Raises ValueError for an output stride that cannot be.
  Source: Huang et al., "Densely connected convolutional networks", arXiv 1608.06993; dilated: Yang
  et al., "DenseASPP for semantic segmentation in street scenes", CVPR 2018.
  """

  corners: ClassVar[bool] = False
  head: ClassVar[str] = "classifier"
  colours: ClassVar[Colours] = IMAGENET

  blocks: Sequence[int] = (6, 12, 24, 16)
  growth: int = 32
  width: int = 64
  bottleneck: int | None = 4
  compression: float = 0.5
  output_stride: int | None = None
  inputs: str = "as_is"
  dropout: float = 0.0
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: Any = None
  transition_stride: int | Sequence[int] = 2
  before_norm: bool = False
  epsilon: float = 1e-5
  scale_layers: bool = False
  plain_stem: bool = False
  after_transitions: bool = False

  def strides(self) -> tuple[int, ...]:
    """Voxels per voxel of each of the features."""
    return self._dilated()[0]

  def layers(self) -> tuple[tuple[str, ...], ...]:
    """The modules of each depth, from the input up, as patterns."""
    last, normed = len(self.blocks), self.norm != "none"
    blocks = [(f"denseblock{i}", f"transition{i}_*") for i in range(1, last)]
    stem, end = (("norm0*",), (f"norm{last + 1}*",)) if normed else ((), ())
    return (("conv0", *stem), *blocks, (f"denseblock{last}", *end))

  def _dilated(self):
    if self.output_stride is not None and self.transition_stride != 2:
      raise ValueError(
        f"densenet: output_stride={self.output_stride} with transition_stride="
        f"{self.transition_stride}; only transitions of stride 2 can be dilated: leave one out."
      )
    if isinstance(self.transition_stride, Sequence):
      raise ValueError(
        f"densenet: transition_stride={tuple(self.transition_stride)}; this network needs the same "
        "stride along all axes: give one integer."
      )
    if self.after_transitions and (self.output_stride is not None or self.before_norm):
      raise ValueError(
        f"densenet: after_transitions=True with output_stride={self.output_stride}, before_norm="
        f"{self.before_norm}; a transition's features have the next block's stride and no norm: "
        "leave the others out."
      )
    first, blocks = 2 if self.plain_stem else 4, len(self.blocks)
    steps = [min(i + self.after_transitions, blocks - 1) for i in range(blocks)]
    strides = [2, *(first * self.transition_stride**i for i in steps)]
    return dilated(strides, self.output_stride, "densenet")

  @nn.compact
  def __call__(self, x):
    x = standardised(x, self.inputs, self.colours)
    x = Conv(self.width, 7, 2, use_bias=False, dtype=self.dtype, name="conv0")(x)
    x = self._norm(x, "norm0") if self.plain_stem else self._norm_relu(x, "norm0")
    undilated = (1,) * (len(self.blocks) + 1)
    dilations = undilated if self.output_stride is None else self._dilated()[1]
    features = [x]
    if not self.plain_stem:
      x = pool(x, "max", kernel=3, stride=2, padding=1)
    for i, layers in enumerate(self.blocks, start=1):
      layer = {
        "growth": self.growth,
        "bottleneck": self.bottleneck,
        "norm": self.norm,
        "norm_groups": self.norm_groups,
        "epsilon": self.epsilon,
        "scale_layers": self.scale_layers,
        "activation": self.activation,
        "dropout": self.dropout,
        "dtype": self.dtype,
        "dilation": dilations[i],
      }
      x = DenseBlock(layers, layer, name=f"denseblock{i}")(x)
      last, before = i == len(self.blocks), x
      if last and self.after_transitions:
        x = self._norm(x, f"norm{i + 1}")
      else:
        x = self._norm_relu(x, f"norm{i + 1}" if last else f"transition{i}_norm")
      if last or not self.after_transitions:
        features.append(before if self.before_norm and not last else x)
      if not last:
        options = {"use_bias": False, "dtype": self.dtype, "name": f"transition{i}_conv"}
        x = Conv(int(x.shape[-1] * self.compression), 1, **options)(x)
        if dilations[i + 1] == dilations[i]:
          x = pool(x, "average", kernel=self.transition_stride)
        if self.after_transitions:
          features.append(x)
    return tuple(features)

  def _norm(self, x, name):
    options = {"epsilon": self.epsilon, "dtype": self.dtype}
    x = Norm(self.norm, self.norm_groups, name=name, **options)(x)
    if self.scale_layers:
      x = Scale(self.dtype, name=f"{name}_scale")(x)
    return x

  def _norm_relu(self, x, name):
    return Activation(self.activation, name=f"{name}_relu")(self._norm(x, name))
