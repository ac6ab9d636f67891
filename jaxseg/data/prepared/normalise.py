"""Intensity normalisation, one channel at a time, and which scheme suits a channel's name."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jaxseg import build

# nnU-Net's budget of foreground voxels for the statistics of a set, and its seed
_BUDGET = 100_000_000
_SEED = 1234
TINY = 1e-8
# pictures of these types use the whole range
_UNSIGNED = (np.uint8, np.uint16)


def zscore(
  channel: np.ndarray, mask: np.ndarray | None = None, *, nonzero: bool = False
) -> np.ndarray:
  """Zero mean, unit standard deviation over the image, or over its nonzero voxels alone.

  With `nonzero` everything outside of the mask becomes zero (skull-stripped brains); the mask is
  that of the channel's own nonzero voxels if none is given. A constant image becomes zero.
  """
  if not nonzero:
    mask = np.ones((), bool)
  elif mask is None:
    mask = channel != 0
  if nonzero and not mask.any():
    return np.zeros(channel.shape, np.float32)
  values = channel[mask] if nonzero else channel
  mean, std = values.mean(dtype=np.float64), values.std(dtype=np.float64)
  return np.where(mask, (channel - mean) / max(std, TINY), 0).astype(np.float32)


def ct(channel: np.ndarray, *, lower: float, upper: float, mean: float, std: float) -> np.ndarray:
  """nnU-Net's CT scheme: clip to the training set's foreground percentiles, then standardise."""
  clipped = np.clip(channel.astype(np.float64), lower, upper)
  return ((clipped - mean) / max(std, TINY)).astype(np.float32)


def standard(channel: np.ndarray, *, mean: float, std: float) -> np.ndarray:
  """Zero mean, unit standard deviation of the training cases' voxels: the same for every case."""
  return ((channel - np.float64(mean)) / max(std, TINY)).astype(np.float32)


def window(channel: np.ndarray, *, lower: float, upper: float, signed: bool = False) -> np.ndarray:
  """Clips to a fixed window (Hounsfield units) and maps it to 0..1, or to -1..1 if `signed`."""
  if not lower < upper:
    raise ValueError(f"window: lower {lower} must be less than upper {upper}.")
  # in float: a bound may lie outside the range of the stored integers
  scaled = (np.clip(channel.astype(np.float64), lower, upper) - float(lower)) / (
    float(upper) - float(lower)
  )
  return (2 * scaled - 1 if signed else scaled).astype(np.float32)


def minmax(channel: np.ndarray, *, signed: bool = False) -> np.ndarray:
  """The image's own minimum and maximum to 0..1, or to -1..1 if `signed`.

  A constant image becomes the lower end.
  """
  low, high = float(channel.min()), float(channel.max())
  scaled = (channel - low) / max(high - low, TINY)
  return (2 * scaled - 1 if signed else scaled).astype(np.float32)


def rgb(channel: np.ndarray, *, maximum: float | None = None) -> np.ndarray:
  """Divides by the largest value that the type of picture can hold: 255 or 65535.

  Other types than unsigned ones of 8 and 16 bits hold 0 to 255, as nnU-Net has it, unless
  `maximum` says otherwise. Raises ValueError where values lie beyond, or 0 to 1 is likelier.
  """
  if maximum is None:
    maximum = float(np.iinfo(channel.dtype).max) if channel.dtype in _UNSIGNED else 255.0
    low, high = (float(channel.min()), float(channel.max())) if channel.size else (0.0, 0.0)
    if low < 0 or high > maximum or (channel.dtype not in _UNSIGNED and 0 < high <= 1):
      raise ValueError(
        f"config.data.normalise: 'rgb' divides {channel.dtype} by {maximum:g}, but the image's "
        f"values lie between {low:g} and {high:g}; set the largest possible value, as in "
        'dict(name="rgb", maximum=1.0), or choose another scheme.'
      )
  return (channel / np.float64(maximum)).astype(np.float32)


def none(channel: np.ndarray) -> np.ndarray:
  """The values as they are."""
  return channel.astype(np.float32)


NORMALISATIONS: dict[str, Callable] = {
  "zscore": zscore,
  "ct": ct,
  "standard": standard,
  "window": window,
  "minmax": minmax,
  "rgb": rgb,
  "none": none,
}

# float32 has no larger odd number
_EXACT = 2**24


def normalised(channel: np.ndarray, scheme: Mapping) -> np.ndarray:
  """One channel by a scheme whose numbers are all there."""
  options = {name: value for name, value in scheme.items() if name != "name"}
  return NORMALISATIONS[scheme["name"]](channel, **options)


def rounds(image: np.ndarray, schemes: Sequence[Mapping]) -> bool:
  """Whether an image's integers, beyond 2^24 and not normalised, lose digits in float32."""
  if image.dtype.kind not in "iu" or image.dtype.itemsize < 4 or not image.size:
    return False
  kept = [scheme["name"] == "none" for scheme in schemes]
  ends = (int(image[..., kept].max(initial=0)), int(image[..., kept].min(initial=0)))
  return max(map(abs, ends)) > _EXACT


_BY_CHANNEL = {
  "ct": "ct",
  **dict.fromkeys(("r", "g", "b", "red", "green", "blue", "rgb", "rgb_to_0_1"), "rgb"),
  "rescale_to_0_1": "minmax",
  "nonorm": "none",
}


def schemes(normalise, channels: Sequence[str]) -> tuple[dict, ...]:
  """One {"name": ..., **options} per channel.

  Args:
    normalise: "auto" (by the channel's name, as nnU-Net: CT -> ct, else zscore; only that red,
      green and blue are rgb, which nnU-Net calls rgb_to_0_1), the name of a scheme, a dict with
      its options, or one of these per channel.
    channels: names of the channels.

  Raises:
    ValueError: unknown scheme or option, or another number of schemes than channels.
  """
  if isinstance(normalise, str | Mapping) or hasattr(normalise, "to_dict"):
    normalise = (normalise,) * len(channels)
  if len(normalise) != len(channels):
    raise ValueError(
      f"config.data.normalise: {len(normalise)} schemes for {len(channels)} channels "
      f"({', '.join(channels)}); give one, or one per channel."
    )
  out = []
  for scheme, channel in zip(normalise, channels, strict=True):
    scheme = {"name": scheme} if isinstance(scheme, str) else dict(build.plain(scheme))
    if scheme.get("name") == "auto":
      scheme = {"name": _BY_CHANNEL.get(channel.lower(), "zscore")}
    build.bind(NORMALISATIONS, scheme, "data.normalise")
    if scheme["name"] == "window" and not {"lower", "upper"} <= set(scheme):
      raise ValueError("config.data.normalise: 'window' needs lower and upper.")
    lower, upper = scheme.get("lower", -np.inf), scheme.get("upper", np.inf)
    # of images of one value, a plan's ends are alike
    if lower > upper or (lower == upper and scheme["name"] == "window"):
      raise ValueError(
        f"config.data.normalise: '{scheme['name']}' with lower {lower} and upper {upper}; expected "
        "lower below upper."
      )
    out.append(scheme)
  return tuple(out)


# schemes whose numbers come from the training cases
_OF_A_SET = {"ct": ("lower", "upper", "mean", "std"), "standard": ("mean", "std")}


def needs_statistics(scheme: Mapping) -> bool:
  """Whether the scheme's numbers come from the training cases."""
  return not set(_OF_A_SET.get(scheme["name"], ())) <= set(scheme)


def undone(values: np.ndarray, scheme: Mapping) -> np.ndarray:
  """Normalised values -> float32 intensities; what a scheme clipped stays clipped.

  Raises ValueError for a scheme whose numbers are each case's own, see `check_undone`.
  """
  check_undone(scheme, "normalisation")
  name = scheme["name"]
  if name in _OF_A_SET:
    factor, shift = max(scheme["std"], TINY), scheme["mean"]
  elif name == "window":
    factor, shift = scheme["upper"] - scheme["lower"], scheme["lower"]
    if scheme.get("signed"):
      factor, shift = factor / 2, (scheme["upper"] + scheme["lower"]) / 2
  else:
    factor, shift = (scheme["maximum"], 0.0) if name == "rgb" else (1.0, 0.0)
  return (values * np.float64(factor) + np.float64(shift)).astype(np.float32)


def check_undone(scheme: Mapping, where: str) -> None:
  """Raises ValueError for a scheme that cannot be undone in a case that is only predicted."""
  name = scheme["name"]
  if name in ("zscore", "minmax"):
    raise ValueError(
      f"{where}: '{name}' takes each case's own numbers, which an image that is yet to be made "
      "does not have; choose 'standard', the mean and deviation of the training cases, or 'ct', "
      "'window', 'none'."
    )
  if name == "rgb" and scheme.get("maximum") is None:
    raise ValueError(
      f"{where}: 'rgb' divides by what the type of a picture can hold, and one that is yet to be "
      'made has no type; give it, as in dict(name="rgb", maximum=255.0).'
    )


def fit(scheme_list: Sequence[dict], read: Callable, cases: Sequence[str]) -> tuple[dict, ...]:
  """Fills in the numbers of `ct`, from the foreground of the training cases, and of `standard`.

  Args:
    scheme_list: as returned by `schemes`.
    read: case name -> ((*space, channels) image, (*space) bool foreground, None without labels).
    cases: names of the training cases.
  """
  needing = [i for i, scheme in enumerate(scheme_list) if needs_statistics(scheme)]
  which = [i for i in needing if scheme_list[i]["name"] == "ct"]
  whole = [i for i in needing if i not in which]
  if whole:
    scheme_list = _standardised(scheme_list, whole, read, cases)
  if not which:
    return tuple(scheme_list)
  share = max(1, _BUDGET // len(cases))
  random = np.random.RandomState(_SEED)
  found = []
  for case in cases:
    image, foreground = read(case)
    if foreground is None:
      raise ValueError(f"case '{case}' has no label; a training set needs one for every case.")
    values = image[foreground][:, which].astype(np.float32)
    if len(values) > share:
      values = values[random.choice(len(values), share)]
    found.append(values)
  values = np.concatenate(found)
  if not len(values):
    raise ValueError(
      "config.data.normalise: 'ct' takes its numbers from the foreground of the training cases, "
      "but these have none; use 'window' or give lower, upper, mean and std."
    )
  out = list(scheme_list)
  for column, i in enumerate(which):
    channel = values[:, column]
    lower, upper = np.percentile(channel, (0.5, 99.5))
    statistics = {
      "lower": float(lower),
      "upper": float(upper),
      "mean": float(channel.mean(dtype=np.float64)),
      "std": float(channel.std(dtype=np.float64)),
    }
    out[i] = {**statistics, **scheme_list[i]}
  return tuple(out)


def _standardised(scheme_list, which: Sequence[int], read: Callable, cases) -> list[dict]:
  """The schemes, those of `which` with the mean and deviation of all voxels of the cases."""
  count, total, squares = 0, 0.0, 0.0
  for case in cases:
    values = read(case)[0][..., list(which)].astype(np.float64).reshape(-1, len(which))
    count, total = count + len(values), total + values.sum(0)
    squares = squares + (values**2).sum(0)
  mean = total / count
  std = np.sqrt(np.maximum(squares / count - mean**2, 0))
  out = list(scheme_list)
  for column, i in enumerate(which):
    out[i] = {"mean": float(mean[column]), "std": float(std[column]), **scheme_list[i]}
  return out
