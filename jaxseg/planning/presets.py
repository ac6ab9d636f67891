"""nnU-Net's planners as numbers: network, widths, depths, and the memory that a plan may fill."""

from typing import NamedTuple

_CPU = "jaxsegPlannerCPU"
# names of planners that nnU-Net doesn't have
OURS = (_CPU,)


class Preset(NamedTuple):
  """What a planner is told.

  Attributes:
    planner: the name of nnU-Net's planner, or one of OURS.
    name: the name of its plans file, without ".json".
    network: a name of `jaxseg.networks.NETWORKS`.
    width: channels of the finest stage.
    depth: convolutions (or residual blocks) of each encoder stage, finest first; the last number
      is repeated.
    decoder_depth: convolutions of every decoder stage.
    features_2d, features_3d: elements of all feature maps that fill `gigabytes`, at a batch of 12
      in 2D and of 2 in 3D.
    gigabytes: memory of the GPU; 0 where time is what a plan saves.
    covered: largest share of the training set's voxels in one batch.
    shrink_at_two: the patch shrinks until a batch of two fits; False: until the reference batch
      fits, which makes a difference in 2D only.
    shares_data: 2D and full resolution read the default planner's preprocessed data.
  """

  planner: str
  name: str
  network: str
  width: int
  depth: tuple[int, ...]
  decoder_depth: int
  features_2d: float
  features_3d: float
  gigabytes: float
  covered: float
  shrink_at_two: bool
  shares_data: bool

  @property
  def room(self) -> str:
    """What a batch is fitted to, in words."""
    return f"{self.gigabytes:g} GB" if self.gigabytes else "minutes of a CPU"


def _residual(size: str, features_2d: float, features_3d: float, gigabytes: float) -> Preset:
  return Preset(
    planner=f"nnUNetPlannerResEnc{size}",
    name=f"nnUNetResEncUNet{size}Plans",
    network="resenc_unet",
    width=32,
    depth=(1, 3, 4, 6),
    decoder_depth=1,
    features_2d=features_2d,
    features_3d=features_3d,
    gigabytes=gigabytes,
    covered=1.0,
    shrink_at_two=False,
    shares_data=True,
  )


def with_memory(preset: Preset, gigabytes: float) -> Preset:
  """The preset for a GPU of another size: the feature maps grow in proportion to the memory.

  The plans are then named as nnU-Net advises, "..._80G". Raises ValueError for less than 1 GB,
  and for a preset that isn't made for a GPU.
  """
  if not preset.gigabytes:
    raise ValueError("plan: preset cpu saves time, not memory; leave the GPU memory out.")
  if not gigabytes >= 1:
    raise ValueError(f"plan: a GPU memory of {gigabytes} GB; expected 1 or more.")
  if gigabytes == preset.gigabytes:
    return preset
  factor = gigabytes / preset.gigabytes
  return preset._replace(
    name=f"{preset.name.split('_')[0]}_{gigabytes:g}G",
    features_2d=preset.features_2d * factor,
    features_3d=preset.features_3d * factor,
    gigabytes=gigabytes,
  )


_XL = _residual("XL", 560e6, 3600e6, 40)

# nnU-Net 2.8.1; it has no preset above 40 GB, where its advice is to scale XL in proportion
PRESETS: dict[str, Preset] = {
  "default": Preset(
    planner="ExperimentPlanner",
    name="nnUNetPlans",
    network="plain_conv_unet",
    width=32,
    depth=(2,),
    decoder_depth=2,
    features_2d=85e6,
    features_3d=560e6,
    gigabytes=8,
    covered=0.05,
    shrink_at_two=True,
    shares_data=False,
  ),
  "resenc_m": _residual("M", 135e6, 680e6, 8),
  "resenc_l": _residual("L", 380e6, 2100e6, 24),
  "resenc_xl": _XL,
  "resenc_80gb": with_memory(_XL, 80),
  # ours: half the widths, and batches of which two cores do one in a second
  "cpu": Preset(
    planner=_CPU,
    name="jaxsegCPUPlans",
    network="plain_conv_unet",
    width=16,
    depth=(2,),
    decoder_depth=2,
    features_2d=2.6e6,
    features_3d=5.5e6,
    gigabytes=0,
    covered=0.05,
    shrink_at_two=False,
    shares_data=True,
  ),
}
