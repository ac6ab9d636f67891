"""deepbet's two networks: one finds the brain's box in a head, the other the brain in its box."""

from collections.abc import Sequence

from flax import linen as nn

from jaxseg.networks.linknet import LinkNet


class DeepBet(nn.Module):
  """Two LinkNets, "box" for an image of `box_size` voxels per axis and "brain" for any other one.

  Which of them sees what is the predictor `boxed`'s; training goes on with "brain" alone.

  Shapes and outputs: of `LinkNet`.

  Attributes:
    box_size: voxels per axis of the whole head.
    classes, widths, norm, dtype: of both, see `LinkNet`.

  2 x 2,126,258 parameters at 1 channel and 2 classes in 3D. Source: Fisch et al., "deepbet", arXiv
  2308.07003, whose weights (deepbet 1.0.2, MIT) `jaxseg import-model deepbet` reads.
  """

  classes: int = 3
  box_size: int = 128
  widths: Sequence[int] = (16, 32, 64, 128)
  norm: str = "instance"
  dtype: str = "float32"

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest stage, per axis."""
    return (2 ** (len(self.widths) + 1),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    options = {"widths": self.widths, "norm": self.norm, "dtype": self.dtype}
    box, brain = (LinkNet(self.classes, name=name, **options) for name in ("box", "brain"))
    if self.is_initializing():
      box(x, train=train)
      return brain(x, train=train)
    whole = all(size == self.box_size for size in x.shape[1:-1])
    return (box if whole else brain)(x, train=train)
