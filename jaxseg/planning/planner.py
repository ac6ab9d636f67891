"""From a fingerprint to a plan, by nnU-Net's rules."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from jaxseg.build import suggestion
from jaxseg.planning.fingerprint import Fingerprint
from jaxseg.planning.memory import feature_map_elements
from jaxseg.planning.plans import Configuration, Description, Plan
from jaxseg.planning.presets import PRESETS, Preset, with_memory
from jaxseg.planning.spacing import axis_order, coarser, resampled_shape, target_spacing
from jaxseg.planning.topology import Topology, topology

_WIDEST = {2: 512, 3: 320}
_REFERENCE_BATCH = {2: 12, 3: 2}
# edge of the square or cube with as many voxels as the patch has to begin with
_FIRST_EDGE = {2: 2048, 3: 256}
_SMALLEST_BATCH = 2
_LOWRES_BELOW = 0.25
_LOWRES_SAVES = 2
_MASK_BELOW = 3 / 4
_SCHEMES = {"ct": "ct", "nonorm": "none", "rescale_to_0_1": "minmax", "rgb_to_0_1": "rgb"}


def plan(
  fingerprint: Fingerprint,
  description: Description,
  *,
  preset: str = "default",
  gpu_memory: float | None = None,
  spacing: Sequence[float] | None = None,
  name: str | None = None,
) -> Plan:
  """What nnU-Net would do with a data set.

  Args:
    fingerprint: what the data set is like.
    description: what it is made of.
    preset: a name of PRESETS.
    gpu_memory: gigabytes, where they differ from the preset's.
    spacing: (3,) millimetres in the stored order of axes, in place of the planned one for 3D.
    name: of the plans file; the preset's by default.

  Raises ValueError for an unknown preset, a fingerprint of other channels, or no room for a patch.
  Source: Isensee et al., arXiv 1904.08128 and (the ResEnc presets) 2404.09556; nnU-Net 2.8.1.
  """
  if preset not in PRESETS:
    raise ValueError(
      f"plan: preset '{preset}' is unknown{suggestion(preset, PRESETS)}; choices: "
      f"{', '.join(PRESETS)}."
    )
  chosen = PRESETS[preset]
  if gpu_memory is not None:
    chosen = with_memory(chosen, gpu_memory)
  if name is not None:
    chosen = chosen._replace(name=name)
  if len(fingerprint.intensities) != len(description.channels):
    raise ValueError(
      f"{description.name}: the fingerprint is of {len(fingerprint.intensities)} channel(s), the "
      f"data set has {len(description.channels)}; take the fingerprint again."
    )
  spacings = np.asarray(fingerprint.spacings, np.float64)
  shapes = np.asarray(fingerprint.shapes)
  target, why = target_spacing(spacings, shapes)
  if spacing is not None:
    target, why = np.asarray(spacing, np.float64), "as asked for"
    if target.shape != (3,) or not (target > 0).all():
      raise ValueError(f"plan: spacing {tuple(spacing)}; expected three positive numbers in mm.")
  order = list(axis_order(target))
  resampled = [
    resampled_shape(n, s, target)
    for n, s in zip(fingerprint.shapes, fingerprint.spacings, strict=True)
  ]
  median = np.median(resampled, 0)[order]
  planner = _Planner(chosen, fingerprint, description)
  target = target[order]
  made = planner.configurations(target, median, why)
  return Plan(
    dataset=description.name,
    name=chosen.name,
    planner=chosen.planner,
    reader=description.reader,
    spacing=tuple(np.median(spacings, 0)[order].tolist()),
    shape=tuple(round(n) for n in np.median(shapes, 0)[order]),
    transpose=tuple(order),
    configurations=made,
    intensities=fingerprint.intensities,
    mirroring=fingerprint.mirroring,
    reasons=planner.reasons,
  )


class _Planner:
  """One planning run: its inputs, and the reasons that it collects."""

  def __init__(self, preset: Preset, fingerprint: Fingerprint, description: Description):
    self.preset, self.description = preset, description
    self.cropped = fingerprint.relative_size
    self.reasons: dict[str, dict[str, str]] = {
      "": {"transpose": "the axis with the largest voxels comes first"}
    }

  def configurations(self, spacing, median, why: str) -> dict[str, Configuration]:
    made = {"2d": self.configuration("2d", spacing[1:], median[1:], median)}
    self.reasons["2d"] |= {"spacing": why, "batch_dice": "always in 2D"}
    made["2d"] = dataclasses.replace(made["2d"], batch_dice=True)
    if median[0] == 1:
      self.reasons[""]["configurations"] = "pictures, or single slices: 2D alone"
      return made
    full = self.configuration("3d_fullres", spacing, median, median)
    self.reasons["3d_fullres"]["spacing"] = why
    low, share = self._lowres(full, spacing, median)
    covered = f"a patch covers {share:.0%} of the median image"
    if low is None:
      self.reasons[""]["configurations"] = f"no low resolution: {covered}" + (
        f", and a coarser grid would save less than {_LOWRES_SAVES} times the voxels"
        if share < _LOWRES_BELOW
        else ""
      )
      self.reasons["3d_fullres"]["batch_dice"] = "patches see most of the image"
      return {**made, "3d_fullres": full}
    self.reasons[""]["configurations"] = f"low resolution and a cascade: {covered}"
    self.reasons["3d_lowres"]["batch_dice"] = "patches see most of the image"
    self.reasons["3d_fullres"]["batch_dice"] = "patches see a small part of the image"
    full = dataclasses.replace(full, batch_dice=True)
    cascade = dataclasses.replace(full, inherits="3d_fullres", previous_stage="3d_lowres")
    low = dataclasses.replace(low, next_stage="3d_cascade_fullres")
    return {**made, "3d_lowres": low, "3d_fullres": full, "3d_cascade_fullres": cascade}

  def _lowres(self, full: Configuration, spacing, median) -> tuple[Configuration | None, float]:
    """The finest coarser configuration whose patch covers a quarter of the median image."""
    share = covered = math.prod(full.patch) / np.prod(median)
    low, reduced = None, median
    while covered < _LOWRES_BELOW:
      low_spacing = coarser(spacing if low is None else np.asarray(low.spacing))
      reduced = spacing / low_spacing * median
      shape = [round(n) for n in reduced]
      low = self.configuration("3d_lowres", low_spacing, shape, reduced)
      covered = math.prod(low.patch) / np.prod(reduced)
    if low is None or np.prod(median) / np.prod(reduced) < _LOWRES_SAVES:
      self.reasons.pop("3d_lowres", None)
      return None, share
    self.reasons["3d_lowres"]["spacing"] = (
      f"coarser by steps of 3 % until a patch covers {covered:.0%} of the median image"
    )
    return low, share

  def configuration(self, name: str, spacing, median, volume) -> Configuration:
    """One configuration; `volume` is the shape of a whole median image, for the batch's cap."""
    preset, rank = self.preset, len(spacing)
    first = self._first_patch(spacing, median)
    stages = topology(spacing, first)
    reference = preset.features_2d if rank == 2 else preset.features_3d
    batch = _REFERENCE_BATCH[rank]
    limit = reference * batch / 2 if preset.shrink_at_two else reference
    while (elements := self._elements(stages)) > limit:
      stages = self._smaller(stages, spacing, median)
    fits = round(reference / elements * batch)
    voxels = float(np.prod(volume)) * self.description.cases
    allowed = round(voxels * preset.covered / math.prod(stages.patch))
    shared = preset.shares_data and name != "3d_lowres"
    schemes = tuple(_SCHEMES.get(c.casefold(), "zscore") for c in self.description.channels)
    masked = tuple(self.cropped < _MASK_BELOW and scheme == "zscore" for scheme in schemes)
    self.reasons[name] = {
      "patch": f"{' x '.join(f'{n:g}' for n in first)} to begin with; what fits into "
      f"{preset.room} ({elements / 1e6:.3g} of {limit / 1e6:.3g} million elements)",
      "batch": _why_batch(fits, allowed, preset.covered),
      "stages": "halved while an axis has 8 voxels or more",
      "kernels": "1 along axes whose voxels are twice as long as the finest",
      "normalisation": "by the channels' names: " + ", ".join(self.description.channels),
      "masked": f"cropping leaves {self.cropped:.0%} of an image",
    }
    return Configuration(
      spacing=tuple(float(s) for s in spacing),
      median_shape=tuple(n if isinstance(n, int) else float(n) for n in median),
      patch=stages.patch,
      batch=max(min(fits, allowed), _SMALLEST_BATCH),
      network=preset.network,
      **self._layers(stages),
      kernels=stages.kernels,
      normalisation=schemes,
      masked=masked,
      batch_dice=False,
      identifier=f"{PRESETS['default'].name if shared else preset.name}_{name}",
    )

  def _first_patch(self, spacing, median) -> tuple[float, ...]:
    rank = len(spacing)
    aspect = 1 / np.asarray(spacing, np.float64)
    edges = aspect * (_FIRST_EDGE[rank] ** rank / np.prod(aspect)) ** (1 / rank)
    return tuple(min(round(n), m) for n, m in zip(edges, median, strict=True))

  def _layers(self, stages: Topology) -> dict:
    number, depth = len(stages.strides), self.preset.depth
    widest = _WIDEST[len(stages.patch)]
    return {
      "widths": tuple(min(self.preset.width * 2**i, widest) for i in range(number)),
      "strides": stages.strides,
      "depth": (depth + depth[-1:] * number)[:number],
      "decoder_depth": (self.preset.decoder_depth,) * (number - 1),
    }

  def _elements(self, stages: Topology) -> int:
    residual = self.preset.network == "resenc_unet"
    labels = self.description.labels
    return feature_map_elements(
      stages.patch, **self._layers(stages), labels=labels, residual=residual
    )

  def _smaller(self, stages: Topology, spacing, median) -> Topology:
    """Shortens the axis that is longest relative to the median image by one step."""
    relative = [n / m for n, m in zip(stages.patch, median, strict=True)]
    axis = int(np.argsort(relative, kind="stable")[-1])
    patch = list(stages.patch)
    patch[axis] -= stages.divisor[axis]
    if patch[axis] > 0:
      # the shorter axis may be pooled less often, and then a smaller step is enough
      patch[axis] = stages.patch[axis] - topology(spacing, patch).divisor[axis]
    if patch[axis] < 1:
      raise ValueError(
        f"plan: no patch fits into {self.preset.room} for {self.description.labels} "
        "labels; choose a larger preset or more memory."
      )
    return topology(spacing, patch)


def _why_batch(fits: int, allowed: int, covered: float) -> str:
  if min(fits, allowed) < _SMALLEST_BATCH:
    return f"never less than {_SMALLEST_BATCH}"
  if fits <= allowed:
    return "what fits into memory"
  return f"no more than {covered:.0%} of the set's voxels ({fits} would fit)"
