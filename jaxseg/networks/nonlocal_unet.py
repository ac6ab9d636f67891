"""Non-local U-Net: global attention at the bottom and in up-sampling."""

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  NORMS,
  Activation,
  Conv,
  Dropout,
  NonLocal,
  Norm,
  TransposedConv,
  choice,
  crop_to,
  pad_to_multiple,
)


class PreActivation(nn.Module):
  """Norm and activation, before what they feed; (b, *space, c) -> the same."""

  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x):
    x = Norm(self.norm, self.norm_groups, dtype=self.dtype, name="norm")(x)
    return Activation(self.activation, name="activation")(x)


class PreActivationBlock(nn.Module):
  """Pre-activation residual block: two times norm, activation, 3x3 convolution without bias.

  Shapes: (b, *space, in) -> (b, *ceil(space / stride), features). With `project` the shortcut is a
  1x1 convolution (without bias) of the normalised input, otherwise the input itself.
  """

  features: int
  stride: int = 1
  project: bool = False
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x):
    before = {"norm": self.norm, "norm_groups": self.norm_groups}
    before |= {"activation": self.activation, "dtype": self.dtype}
    bare = {"use_bias": False, "dtype": self.dtype}
    shortcut, x = x, PreActivation(name="before1", **before)(x)
    if self.project:
      shortcut = Conv(self.features, 1, self.stride, name="shortcut", **bare)(x)
    x = Conv(self.features, 3, self.stride, name="conv1", **bare)(x)
    x = PreActivation(name="before2", **before)(x)
    return shortcut + Conv(self.features, 3, name="conv2", **bare)(x)


class NonLocalUNet(nn.Module):
  """A small residual U-Net with global aggregation blocks.

      conv - res32 ------------------------------------- sum - res32 - norm, relu, dropout, 1x1
              \\ res64, stride 2 ------------ sum - res64 - up /
               \\ res128, stride 2 - attention - attention up /

  The bottom block attends with `heads` heads at one resolution; the first decoder stage's query is
  a transposed convolution, so that attention itself doubles the size; the others up-sample by
  transposed convolutions. Skips are sums.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck",
  "decoder"}. Any size works: the input is zero-padded to a multiple of `total_stride`. 3D in the
  paper; 2D and 1D too.

  Attributes:
    classes: number of scores per voxel.
    features: channels of the first stage; they double at each further one.
    depth: number of stages.
    heads: of the bottom block; the up-sampling attention has one.
    attention_ups: so many decoder stages, from the bottom, up-sample by attention.
    dropout, attention_dropout: before the head; of the attention weights.
    chunk: queries at a time, see `NonLocal`.
    norm, norm_groups, activation, dtype: as `UNet`'s.

  He's initialisation instead of the public code's truncated normal with standard deviation 1, and
  attention starts closed (zero output convolution); ReLU instead of its ReLU6.
  Source: Wang, Zou, Liu, Ji, arXiv 1812.04103; 1,760,452 parameters in 3D for 2 channels and 4
  classes, as divelab/Non-local-U-Nets.
  """

  classes: int = 3
  features: int = 32
  depth: int = 3
  heads: int = 2
  attention_ups: int = 1
  dropout: float = 0.5
  attention_dropout: float = 0.5
  chunk: int = 1024
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: str = "float32"

  def __post_init__(self):
    if self.classes < 1 or self.features < 1 or self.depth < 2:
      raise ValueError(
        f"nonlocal_unet: classes={self.classes}, features={self.features}, depth={self.depth}; "
        "expected at least one class, one channel and two stages."
      )
    if not 0 <= self.attention_ups < self.depth:
      raise ValueError(
        f"nonlocal_unet: attention_ups={self.attention_ups}; {self.depth} stages have 0 to "
        f"{self.depth - 1} decoder stages."
      )
    choice(self.norm, NORMS, "nonlocal_unet: norm")
    choice(self.activation, ACTIVATIONS, "nonlocal_unet: activation")
    choice(self.dtype, ("float32", "bfloat16"), "nonlocal_unet: dtype")
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the bottleneck, per axis."""
    return (2 ** (self.depth - 1),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    space = x.shape[1:-1]
    before = {"norm": self.norm, "norm_groups": self.norm_groups}
    before |= {"activation": self.activation, "dtype": self.dtype}
    bare = {"use_bias": False, "dtype": self.dtype}
    attention = {"dropout": self.attention_dropout, "chunk": self.chunk, "dtype": self.dtype}
    widths = [self.features * 2**i for i in range(self.depth)]

    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(len(space)))
    x = Conv(self.features, 3, name="stem", **bare)(x)
    skips = []
    for i, width in enumerate(widths):
      block = PreActivationBlock(
        width, 2 if i else 1, project=True, name=f"encoder{i + 1}", **before
      )
      x = block(x)
      skips.append(x)

    y = PreActivation(name="bottom_before", **before)(x)
    aggregate = NonLocal(
      inter=widths[-1], heads=self.heads, residual=False, name="bottom", **attention
    )
    x += aggregate(y)
    outputs = {"bottleneck": x}

    for i in reversed(range(self.depth - 1)):
      if i >= self.depth - 1 - self.attention_ups:
        x = PreActivation(name=f"up{i + 1}_before", **before)(x)
        up = NonLocal(
          widths[i], inter=widths[i], direction="up", name=f"up{i + 1}", **attention
        )  # its shortcut is a transposed convolution
      else:
        up = TransposedConv(widths[i], 3, 2, name=f"up{i + 1}", **bare)
      x = up(x) + skips[i]
      x = PreActivationBlock(widths[i], name=f"decoder{i + 1}", **before)(x)
    outputs["decoder"] = crop_to(x, space)
    x = PreActivation(name="head_before", **before)(x)
    x = crop_to(Dropout(self.dropout, name="dropout")(x), space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x)
    return {**outputs, "logits": logits.astype(jnp.float32)}
