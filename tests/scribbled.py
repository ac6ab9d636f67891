"""A set of HDF5 files with scribbles, and configs that learn from it."""

import h5py
import numpy as np

from jaxseg import defaults

UNKNOWN, SHAPE, CASES = 4, (3, 24, 20), 5
NAMES = ("background", "a", "b")


def volume(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """(image, label, scribble) of a case: two boxes, a line in each and one in the background."""
  random = np.random.default_rng(number)
  label = np.zeros(SHAPE, np.uint8)
  label[:, 3:12, 3:16], label[:, 14:21, 5:15] = 1, 2
  scribble = np.full(SHAPE, UNKNOWN, np.uint8)
  scribble[:, 1], scribble[:, 6, 4:14], scribble[:, 17, 6:13] = 0, 1, 2
  image = label + 0.2 * random.standard_normal(SHAPE).astype(np.float32)
  return image.astype(np.float32), label, scribble


def write(folder, change=None, cases: int = CASES):
  """Writes the cases; `change` is (number, dict of data sets) -> dict of data sets."""
  folder.mkdir(parents=True, exist_ok=True)
  for number in range(cases):
    held = dict(zip(("image", "label", "scribble"), volume(number), strict=True))
    held = change(number, held) if change else held
    with h5py.File(folder / f"case_{number}.h5", "w") as file:
      for key, array in held.items():
        file[key] = array
  return folder


def config(folder, prepared, **changes):
  """A short run on slices, which validates on the last case."""
  c = defaults.config()
  c.steps, c.log_every, c.evaluate.every, c.checkpoint_every = 3, 1, 3, 3
  c.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  c.data.source = dict(name="h5", path=str(folder), names=NAMES)
  c.data.split = dict(name="explicit", validation=(f"case_{CASES - 1}",))
  c.data.folder, c.data.workers = str(prepared), 1
  c.data.slices, c.data.patch, c.data.batch = 0, (16, 16), 2
  c.data.fields = dict(scribble=dict(name="h5", unknown=UNKNOWN))
  c.data.annotation = "scribble"
  c.predictor = dict(name="slices", overlap=0.0)
  for path, value in changes.items():
    group, _, last = path.rpartition(".")
    place = c
    for name in group.split(".") if group else ():
      place = place[name]
    place[last] = value
  return c
