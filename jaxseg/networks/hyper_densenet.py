"""HyperDenseNet: a path for each modality, every layer of which sees all earlier ones of all."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  NORMS,
  Activation,
  Conv,
  Dropout,
  Norm,
  centre_crop,
  choice,
  need_rank,
)
from jaxseg.networks.blocks.modalities import of_channel, present


class HyperDenseNet(nn.Module):
  """Fusion at every layer: dense connections within a modality's path and across all paths.

      modality 1 -> layer 1 -+-> layer 2 -+-> layer 3 ... -+
                             x            x                +-> 1x1 400 -> 200 -> 150 -> classes
      modality 2 -> layer 1 -+-> layer 2 -+-> layer 3 ... -+

  Every layer of a path sees what all layers before it gave, in all paths, and of each the path's
  own first, then the others in their order: so that each path has its own order of them. A layer is
  norm, activation, 3x3 convolution; the first one has no norm. The last features of all paths
  together go through 1x1 convolutions.

  Shapes: (b, *space, modalities) -> {"logits": (b, *space', classes) float32, "decoder": features
  before the head}. Nothing is down-sampled. Any size works; with padding="valid", as published, one
  voxel per side and layer is lost (27^3 gives 9^3). One path for each channel; of one channel a
  DenseNet without pooling is left. What a modality gives that is missing (`blocks.modalities`) is 0
  in every layer, so that neither its content nor its path's weights have any influence.

  Attributes:
    classes: number of scores per voxel.
    widths: channels that each layer of a path gives.
    head: channels of the 1x1 convolutions.
    padding: "same" or "valid".
    norm: "batch" as published, "instance", "none".
    activation: a name of `ACTIVATIONS`; "prelu_shared" is PyTorch's.
    dropout: rate in every layer but the first.
    dtype: compute dtype, "float32" or "bfloat16"; parameters and statistics stay float32.

  Of two modalities and four classes 10,361,922 parameters, of three 23,173,431: those of the
  authors' PyTorch release, whose 1x1 convolutions follow each other without norm or activation.

  Raises ValueError for bad options, and for an input that valid convolutions leave nothing of.
  Source: Dolz et al., IEEE TMI 2018, arXiv 1804.02967.
  """

  classes: int = 3
  widths: Sequence[int] = (25, 25, 25, 50, 50, 50, 75, 75, 75)
  head: Sequence[int] = (400, 200, 150)
  padding: str = "same"
  norm: str = "batch"
  activation: str = "prelu_shared"
  dropout: float = 0.0
  dtype: str = "float32"

  def __post_init__(self):
    if not self.widths or min(self.classes, *self.widths, *self.head) < 1:
      raise ValueError(
        f"hyper_densenet: classes={self.classes}, widths={tuple(self.widths)}, "
        f"head={tuple(self.head)}; expected one layer or more, and one channel or more of each."
      )
    choice(self.padding, ("same", "valid"), "hyper_densenet: padding")
    choice(self.norm, [name for name in NORMS if name != "group"], "hyper_densenet: norm")
    choice(self.activation, ACTIVATIONS, "hyper_densenet: activation")
    choice(self.dtype, ("float32", "bfloat16"), "hyper_densenet: dtype")
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Nothing is down-sampled."""
    return (1,) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: one for each layer of valid convolutions."""
    return (len(self.widths) if self.padding == "valid" else 0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, modalities = x.ndim - 2, x.shape[-1]
    need_rank(rank, (1, 2, 3), "hyper_densenet")
    space = [n - 2 * m for n, m in zip(x.shape[1:-1], self.margin(rank), strict=True)]
    if min(space) < 1:
      raise ValueError(
        f"hyper_densenet: an input of size {x.shape[1:-1]} is too small; valid convolutions take "
        f"{2 * len(self.widths)} voxels of each axis: give more, or padding='same'."
      )
    there, x = present(x), x.astype(self.dtype)
    paths = [x[..., m : m + 1] for m in range(modalities)]
    for i, width in enumerate(self.widths):
      given = [
        self._layer(i, m, width)(seen) * of_channel(there, m, seen) for m, seen in enumerate(paths)
      ]
      # what there was before, of the first layer nothing: the image itself goes no further
      before = [centre_crop(seen, given[0].shape[1:-1]) if i else None for seen in paths]
      paths = [
        jnp.concatenate([*([before[m]] if i else []), given[m], *given[:m], *given[m + 1 :]], -1)
        for m in range(modalities)
      ]
    x = jnp.concatenate(paths, -1)
    for i, width in enumerate(self.head):
      x = Conv(width, 1, dtype=self.dtype, name=f"head{i + 1}")(x)
    outputs = {"decoder": x}
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x)
    return {**outputs, "logits": logits.astype(jnp.float32)}

  def _layer(self, i: int, modality: int, width: int):
    return _Layer(
      width,
      self.norm if i else "none",
      self.activation,
      self.dropout if i else 0.0,
      self.padding,
      self.dtype,
      name=f"path{modality + 1}_layer{i + 1}",
    )


class _Layer(nn.Module):
  """Norm, activation, dropout, 3x3 convolution: (b, *space, c) -> (b, *space', features)."""

  features: int
  norm: str
  activation: str
  dropout: float
  padding: str
  dtype: str

  @nn.compact
  def __call__(self, x):
    x = Norm(self.norm, dtype=self.dtype, name="norm")(x)
    x = Activation(self.activation, name="activation")(x)
    if self.dropout:
      x = Dropout(self.dropout, name="dropout")(x)
    return Conv(self.features, 3, padding=self.padding, dtype=self.dtype, name="conv")(x)
