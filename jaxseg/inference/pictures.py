"""Pictures of a case: image, label and prediction side by side, as uint8 RGB arrays."""

import numpy as np

# tab10's hues, background first: enough to tell neighbours apart, repeated beyond
COLOURS = np.array(
  [
    (0, 0, 0),
    (214, 39, 40),
    (44, 160, 44),
    (31, 119, 180),
    (255, 127, 14),
    (148, 103, 189),
    (23, 190, 207),
    (227, 119, 194),
    (188, 189, 34),
    (140, 86, 75),
  ],
  np.uint8,
)


def grey(image: np.ndarray) -> np.ndarray:
  """(h, w, c) float -> (h, w, 3) uint8, between the 0.5th and the 99.5th percentile."""
  image = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, -1)
  return windowed(image, *np.percentile(image, (0.5, 99.5)))


def windowed(image: np.ndarray, low: float, high: float) -> np.ndarray:
  """float -> uint8, `low` is black and `high` white."""
  scaled = (image - low) / max(high - low, 1e-6)
  return (np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def colour(classes: np.ndarray) -> np.ndarray:
  """Class index -> colour; 0 is black."""
  wrapped = np.where(classes > 0, (classes - 1) % (len(COLOURS) - 1) + 1, 0)
  return COLOURS[wrapped]


def overlay(image: np.ndarray, classes: np.ndarray, *, opacity: float = 0.45) -> np.ndarray:
  """The image, without its own colours, with the classes laid over it, (h, w, 3) uint8."""
  base = np.repeat(grey(image).mean(-1, keepdims=True, dtype=np.float32), 3, -1)
  mixed = base * (1 - opacity) + colour(classes).astype(np.float32) * opacity
  return np.where((classes > 0)[..., None], mixed, base).astype(np.uint8)


def telling_slice(classes: np.ndarray) -> int:
  """The slice along axis 0 with the most foreground."""
  return int((classes > 0).reshape(len(classes), -1).sum(1).argmax())


def flat(image: np.ndarray, *masks: np.ndarray) -> tuple[np.ndarray, ...]:
  """A volume and its masks -> the telling slice of each; 2D passes through."""
  if image.ndim == 3:
    return (image, *masks)
  at = telling_slice(masks[0])
  return (image[at], *(mask[at] for mask in masks))


def panel(image: np.ndarray, *masks: np.ndarray, enlarge_to: int = 256) -> np.ndarray:
  """image | mask over image | mask over image ..., of the slice where masks[0] is largest.

  Args:
    image: (*space, c) float, rank 2 or 3.
    masks: (*space) int class indices, for example label and prediction.
    enlarge_to: small images are enlarged by a whole factor towards this height.
  """
  image, *masks = flat(image, *masks)
  return _row([grey(image), *(overlay(image, mask) for mask in masks)], enlarge_to)


def side_by_side(image: np.ndarray, *others: np.ndarray, enlarge_to: int = 256) -> np.ndarray:
  """image | other | other ..., of the middle slice, the others in the grey window of the first.

  Args:
    image: (*space, c) float, rank 2 or 3.
    others: (*space, k) float, for example what is true and what was made of the image.
    enlarge_to: small images are enlarged by a whole factor towards this height.
  """
  if image.ndim == 4:
    image, *others = (of[len(of) // 2] for of in (image, *others))
  low, high = np.percentile(others[0], (0.5, 99.5))
  tiles = [np.repeat(windowed(of[..., :1], low, high), 3, -1) for of in others]
  return _row([grey(image), *tiles], enlarge_to)


def _row(tiles: list[np.ndarray], enlarge_to: int) -> np.ndarray:
  """(h, w, 3) tiles beside one another, enlarged by a whole factor."""
  factor = max(1, round(enlarge_to / tiles[0].shape[0]))
  tiles = [np.repeat(np.repeat(tile, factor, 0), factor, 1) for tile in tiles]
  gap = np.full((tiles[0].shape[0], 4, 3), 255, np.uint8)
  row = [tiles[0]]
  for tile in tiles[1:]:
    row += [gap, tile]
  return np.concatenate(row, 1)


def stack(panels) -> np.ndarray:
  """Panels one above the other, padded with white to one width."""
  width = max(panel.shape[1] for panel in panels)
  rows = []
  for picture in panels:
    pads = ((2, 2), (0, width - picture.shape[1]), (0, 0))
    rows.append(np.pad(picture, pads, constant_values=255))
  return np.concatenate(rows)
