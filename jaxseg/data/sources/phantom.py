"""Procedural phantoms: an abdomen with organs, vessels and lesions, made from a seed alone.

No download, no files: `read` draws the case. The anatomy depends on (seed, case) only; appearance
and difficulty are options, so that one anatomy can be had as CT and as MR, clean and degraded.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from jaxseg.batch import LabelSpec
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.sources.phantom_anatomy import (
  AIR,
  LABEL_OF_TISSUE,
  LABELS,
  MUSCLE,
  smooth_field,
  spline_weights,
  tissue_map,
)
from jaxseg.data.sources.source import RawCase, Source, fingerprint

# part of the fingerprint: raise it when the same options give other voxels
_VERSION = 1

# air, fat, muscle, bone, bowel, liver, vessel, stomach, kidney, pelvis, lesion
_SIGNAL = {
  # Hounsfield units, by contrast phase
  "ct": {
    "portal": (-1000, -95, 50, 420, 35, 115, 185, 30, 165, 40, 60),
    "native": (-1000, -100, 45, 400, 25, 62, 42, 20, 34, 10, 38),
    "arterial": (-1000, -97, 55, 420, 40, 80, 290, 32, 190, 30, 125),
    "delayed": (-1000, -95, 55, 410, 36, 95, 125, 28, 130, 320, 92),
  },
  # arbitrary units, by sequence
  "mr": {
    "t1": (0, 820, 340, 130, 300, 500, 110, 220, 400, 250, 330),
    "t2": (0, 480, 190, 230, 680, 270, 70, 760, 480, 800, 600),
    "pd": (0, 780, 520, 180, 560, 600, 330, 680, 640, 740, 680),
    "diffusion": (0, 60, 150, 90, 260, 210, 40, 120, 480, 180, 620),
  },
}
_NOISE = {"ct": (25.0, "gaussian"), "mr": (30.0, "rician")}
_BIAS = {"ct": 0.0, "mr": 0.25}
# deviation between cases, and within a tissue of one case, in the units of the image
_CASE_VARIATION = 8.0
_TEXTURE = 8.0


def _require(condition: bool, option: str, value, expected: str) -> None:
  if not condition:
    raise ValueError(f"phantom: {option} is {value!r}; expected {expected}.")


def _pair(value, option: str, low: float, high: float) -> tuple:
  value = tuple(value)
  ordered = len(value) == 2 and low <= value[0] <= value[1] <= high
  _require(ordered, option, value, f"(low, high) with {low} <= low <= high <= {high}")
  return value


def body_axes(size: Sequence[int], spacing: Sequence[float]) -> list[np.ndarray]:
  """Body coordinates of the voxels per axis: -1..1 over the image in y and x; z in their scale."""
  extents = [n * s for n, s in zip(size, spacing, strict=True)]
  half = [*[(extents[-1] + extents[-2]) / 4] * (len(size) - 2), extents[-2] / 2, extents[-1] / 2]
  return [(np.arange(n) - (n - 1) / 2) * s / h for n, s, h in zip(size, spacing, half, strict=True)]


def _signals(rng, appearance: str, channels: int, contrast: float) -> np.ndarray:
  """(channels, tissues): the case's own signal of each tissue."""
  table = np.array(list(_SIGNAL[appearance].values())[:channels], np.float32)
  varied = table + rng.normal(0, _CASE_VARIATION, table.shape)
  varied[:, AIR] = table[:, AIR]
  muscle = varied[:, MUSCLE : MUSCLE + 1]
  soft = muscle + contrast * (varied - muscle)
  soft[:, AIR] = table[:, AIR]
  return soft.astype(np.float32)


def _degrade(rng, signal, axes, sigma, *, bias_field, noise, noise_kind) -> np.ndarray:
  """Blur, then the bias field, then noise; `signal` is counted from air."""
  if max(sigma) > 0:
    signal = ndimage.gaussian_filter(signal, sigma, mode="nearest", truncate=3.0)
  if bias_field > 0:
    field = smooth_field(rng, spline_weights(axes, 2))
    unit = (field - field.min()) / np.ptp(field)
    signal = signal * (1 + np.float32(bias_field) * (2 * unit - 1))
  if noise > 0:
    signal = signal + np.float32(noise) * rng.standard_normal(signal.shape, np.float32)
    if noise_kind == "rician":
      imaginary = np.float32(noise) * rng.standard_normal(signal.shape, np.float32)
      signal = np.sqrt(signal**2 + imaginary**2)
  return signal


def phantom(
  *,
  cases: int = 120,
  size: Sequence[int] = (128, 128),
  spacing: Sequence[float] | None = None,
  appearance: str = "ct",
  channels: int = 1,
  blur: float = 0.7,
  noise: float | None = None,
  noise_kind: str | None = None,
  contrast: float = 1.0,
  bias_field: float | None = None,
  scale_range: tuple[float, float] = (0.9, 1.1),
  lesions: tuple[int, int] = (1, 3),
  imbalance: float = 1.0,
  seed: int = 0,
  labelled: bool = True,
) -> Source:
  """Phantoms of the abdomen, drawn when read.

  Classes: background, body, liver, vessel (nested in the liver, and the aorta), stomach (touches
  the liver), kidney (with an inner structure of another brightness), lesion. Bowel, bone and fat
  belong to the body, though they share the organs' brightness: thresholds don't solve the task.

  Args:
    cases: number of cases.
    size: voxels (y, x) or (z, y, x); the rank is its length.
    spacing: millimetres per axis, in the same order; None for 1. It changes how the anatomy is
      sampled in z: (32, 128, 128) at (4, 1, 1) shows the body that 128^3 at 1 shows.
    appearance: "ct" (Hounsfield units, channels are contrast phases) or "mr" (0 to about 800,
      channels are sequences). The same seed gives the same labels in both.
    channels: 1 to 4.
    blur: standard deviation of the Gaussian point spread in millimetres.
    noise: standard deviation in units of the image; None is 25 for CT, 30 for MR.
    noise_kind: "gaussian" or "rician" (magnitude of a complex signal, counted from air); None is
      Gaussian for CT, Rician for MR.
    contrast: factor on every tissue's difference from muscle; 1 is normal, 0.3 is hard.
    bias_field: the signal above air is multiplied by a smooth field that reaches from
      1 - bias_field to 1 + bias_field; None is 0 for CT, 0.25 for MR.
    scale_range: range of the body's size, uniform; 1 fills nine tenths of the image's width.
    lesions: smallest and largest number of lesions per case.
    imbalance: divides the volume of each lesion.
    seed: the anatomy and the noise of a case are functions of (seed, case).
    labelled: False keeps the labels back, as of scans that nobody has drawn in.

  Returns:
    The Source. Raises ValueError that names the option.
  """
  rank = len(size)
  size = tuple(int(n) for n in size)
  _require(rank in (2, 3) and min(size) >= 8, "size", size, "(y, x) or (z, y, x), each >= 8")
  spacing = (1.0,) * rank if spacing is None else tuple(float(s) for s in spacing)
  _require(
    len(spacing) == rank and min(spacing) > 0, "spacing", spacing, f"{rank} positive millimetres"
  )
  _require(cases >= 1, "cases", cases, "at least 1")
  _require(appearance in _SIGNAL, "appearance", appearance, f"one of {', '.join(_SIGNAL)}")
  _require(1 <= channels <= 4, "channels", channels, "1 to 4")
  usual_noise, usual_kind = _NOISE[appearance]
  noise = usual_noise if noise is None else noise
  noise_kind = usual_kind if noise_kind is None else noise_kind
  bias_field = _BIAS[appearance] if bias_field is None else bias_field
  _require(noise_kind in ("gaussian", "rician"), "noise_kind", noise_kind, "gaussian or rician")
  _require(noise >= 0, "noise", noise, "0 or more")
  _require(blur >= 0, "blur", blur, "0 or more millimetres")
  _require(contrast > 0, "contrast", contrast, "a positive factor")
  _require(0 <= bias_field < 1, "bias_field", bias_field, "0 <= bias_field < 1")
  _require(imbalance > 0, "imbalance", imbalance, "a positive number")
  scale_range = _pair(scale_range, "scale_range", 0.3, 1.5)
  lesions = _pair(lesions, "lesions", 0, 20)

  names = tuple(f"phantom_{i:04d}" for i in range(cases))
  index = {name: i for i, name in enumerate(names)}
  axes = body_axes(size, spacing)
  channel_names = tuple(_SIGNAL[appearance])[:channels]
  geometry = plain_geometry(size, spacing)
  air = np.float32(_SIGNAL[appearance][channel_names[0]][AIR])
  grain = spline_weights(axes, 20)
  sigma = [blur / s for s in spacing]
  # everything that changes a voxel; the number of cases doesn't
  options = {
    "version": _VERSION, "size": size, "spacing": spacing, "appearance": appearance,
    "channels": channels, "blur": blur, "noise": noise, "noise_kind": noise_kind,
    "contrast": contrast, "bias_field": bias_field, "scale_range": scale_range,
    "lesions": lesions, "imbalance": imbalance, "seed": seed, "cases": cases,
  }  # fmt: skip
  if not labelled:
    options["labelled"] = labelled

  def read(name: str) -> RawCase:
    if name not in index:
      raise ValueError(
        f"phantom: case '{name}' doesn't exist; cases are {names[0]} to {names[-1]}."
      )
    # two streams, so that no option of the appearance moves the anatomy
    body, look = (np.random.default_rng([seed, index[name], stream]) for stream in range(2))
    tissue = tissue_map(body, axes, scale_range=scale_range, lesions=lesions, imbalance=imbalance)
    signals = _signals(look, appearance, channels, contrast)
    texture = smooth_field(look, grain) * np.where(tissue == AIR, 0, np.float32(_TEXTURE))
    image = [
      air
      + _degrade(
        look,
        signal[tissue] - air + texture,
        axes,
        sigma,
        bias_field=bias_field,
        noise=noise,
        noise_kind=noise_kind,
      )
      for signal in signals
    ]
    label = LABEL_OF_TISSUE[tissue] if labelled else None
    return RawCase(np.stack(image, -1), label, None, geometry)

  return Source(
    name=f"phantom{rank}d",
    cases=names,
    channels=channel_names,
    labels=LabelSpec(LABELS, tuple(range(len(LABELS)))),
    rank=rank,
    read=read,
    fingerprint=fingerprint((), options),
    unlabelled=frozenset(() if labelled else names),
  )
