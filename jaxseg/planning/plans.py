"""What a plan says, in this project's names."""

import dataclasses
from typing import NamedTuple

from jaxseg.data.sources.source import Source
from jaxseg.planning.mirroring import Mirroring


class Description(NamedTuple):
  """What a plan needs to know of a data set beside its fingerprint.

  Attributes:
    name: of the data set.
    channels: names of the image channels, which choose the normalisation.
    labels: scores per voxel as nnU-Net counts them: background and an ignored label count.
    cases: number of training cases.
    reader: the name of nnU-Net's reader for the files.
  """

  name: str
  channels: tuple[str, ...]
  labels: int
  cases: int
  reader: str = "SimpleITKIO"


def description(source: Source, *, file_ending: str | None = None) -> Description:
  """Describes a source; `file_ending` is that of its images, where it is known."""
  ending = file_ending or (".png" if source.rank == 2 else ".nii.gz")
  picture = ending in (".png", ".bmp") or (ending == ".tif" and source.rank == 2)
  volume = ending in (".tif", ".tiff")
  reader = "NaturalImage2DIO" if picture else "Tiff3DIO" if volume else "SimpleITKIO"
  labels = source.labels
  outputs = labels.channels + (labels.regions is not None) + (labels.ignore is not None)
  return Description(source.name, source.channels, outputs, len(source.cases), reader)


class Resampling(NamedTuple):
  """How one kind of array is resampled.

  Attributes:
    order: of the spline.
    order_z: along a coarse axis that is resampled on its own.
    separate_z: whether it is; None where the spacing ratio exceeds 3.
  """

  order: int
  order_z: int = 0
  separate_z: bool | None = None


CUBIC, LINEAR = Resampling(3), Resampling(1)


@dataclasses.dataclass(frozen=True)
class Configuration:
  """One of a plan's networks and its data: "2d", "3d_fullres", ...

  Attributes:
    spacing: (rank,) millimetres, axes in the transposed order; a 2D one leaves the first axis out.
    median_shape: (rank,) voxels at that spacing.
    patch: (rank,) voxels.
    batch: patches per step.
    network: "plain_conv_unet" or "resenc_unet".
    widths: channels per stage, finest first.
    kernels: per stage, one per axis.
    strides: per stage, the step that leads into it; the first is 1.
    depth: convolutions or residual blocks per encoder stage.
    decoder_depth: convolutions per decoder stage, finest first.
    normalisation: per channel, a name of `jaxseg.data.prepared.normalise.NORMALISATIONS`.
    masked: per channel, whether only the voxels inside the nonzero mask are normalised.
    batch_dice: Dice over the batch as if it were one image.
    image, label, scores: how each is resampled; scores on the way back.
    identifier: nnU-Net's name for the folder of preprocessed data.
    next_stage: of a cascade, the configuration that takes this one's output.
    previous_stage: the configuration whose output this one takes.
    inherits: the configuration that a file gives this one's other values by.
  """

  spacing: tuple[float, ...]
  median_shape: tuple[float, ...]
  patch: tuple[int, ...]
  batch: int
  network: str
  widths: tuple[int, ...]
  kernels: tuple[tuple[int, ...], ...]
  strides: tuple[tuple[int, ...], ...]
  depth: tuple[int, ...]
  decoder_depth: tuple[int, ...]
  normalisation: tuple[str, ...]
  masked: tuple[bool, ...]
  batch_dice: bool
  identifier: str
  image: Resampling = CUBIC
  label: Resampling = LINEAR
  scores: Resampling = LINEAR
  next_stage: str | None = None
  previous_stage: str | None = None
  inherits: str | None = None

  @property
  def rank(self) -> int:
    return len(self.patch)


@dataclasses.dataclass(frozen=True)
class Plan:
  """What to do with a data set.

  Attributes:
    dataset: its name.
    name: of the plans file, without ".json".
    planner: the name of nnU-Net's planner.
    reader: the name of nnU-Net's reader.
    spacing: (3,) median millimetres of the images as they are, in the transposed order.
    shape: (3,) median voxels likewise.
    transpose: the order of the axes: transposed axis i is stored axis transpose[i].
    configurations: by name.
    intensities: per channel, the fingerprint's statistics of the foreground.
    mirroring: which axes may be mirrored; None where that was not measured, as nnU-Net doesn't.
    reasons: configuration ("" for the plan) -> field -> why; empty where a file was read.
  """

  dataset: str
  name: str
  planner: str
  reader: str
  spacing: tuple[float, ...]
  shape: tuple[int, ...]
  transpose: tuple[int, ...]
  configurations: dict[str, Configuration]
  intensities: tuple[dict[str, float], ...]
  mirroring: Mirroring | None = None
  reasons: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict, compare=False)

  def configuration(self, name: str) -> Configuration:
    """The configuration called `name`; raises ValueError that lists the choices."""
    if name not in self.configurations:
      raise ValueError(
        f"plan {self.name} of {self.dataset}: has no configuration '{name}'; choices: "
        f"{', '.join(self.configurations)}."
      )
    return self.configurations[name]
