"""Which patch of which case stands in which slot of which batch, and cutting it out.

The host chooses case and corner as a pure function of (seed, stream, step, slot), for all caches:
`device` keeps all cases in device memory and cuts inside the compiled step, `host` keeps them in
host memory and sends patches, `disk` keeps nothing and reads what a patch touches. The bits are the
same.
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Batch, Kind, by_kind, kind
from jaxseg.data.prepared.dataset import Dataset

CACHES = ("device", "host", "disk")


class Sampling(NamedTuple):
  """How patches are drawn.

  Attributes:
    patch: what the network is fed, per axis of the case (1 on a sliced axis).
    crop: what is cut out around it, at least as large: room for rotating and scaling.
    batch: patches in the global batch.
    foreground: share of the patches that are centred on a voxel of a foreground class, the
      class drawn uniformly from those of the case. Where the labels have an ignored value, the
      other patches are centred on any voxel that has another one, as in nnU-Net.
    slices: axis along which a volume is cut into slices for a 2D network, or None.
    margin: voxels per side that a network of valid convolutions loses, per axis of the case: what
      it gives, not what it is fed, stays inside the case, so that borders are trained on.
    seed: of the order.
    stream: number of the stream, which has an order of its own; 0 is the main one.
    annotated: labels are those of few voxels, on which the patches that are not centred on
      foreground are centred, as where the labels have an ignored value.
  """

  patch: tuple[int, ...]
  crop: tuple[int, ...]
  batch: int
  foreground: float = 1 / 3
  slices: int | None = None
  margin: tuple[int, ...] = (0, 0, 0)
  seed: int = 0
  stream: int = 0
  annotated: bool = False


class Choice(NamedTuple):
  """One patch: the position of its case among the training cases, and its first voxel.

  The corner may lie outside the case, which is then padded.
  """

  case: int
  start: tuple[int, ...]


def sampling(
  rank: int,
  *,
  patch: Sequence[int],
  crop: Sequence[int] | None = None,
  margin: Sequence[int] | None = None,
  batch: int,
  **options,
) -> Sampling:
  """Checks the sizes against the rank of the cases; see `Sampling`. `crop` is `patch` if None."""
  slices = options.get("slices")
  margin = (0,) * len(patch) if margin is None else tuple(margin)
  patch = tuple(int(n) for n in patch)
  crop = patch if crop is None else tuple(int(n) for n in crop)
  expected = rank if slices is None else rank - 1
  if slices is not None and not (rank == 3 and 0 <= slices < 3):
    raise ValueError(
      f"config.data.slices: {slices} needs volumes (rank 3) and an axis 0, 1 or 2; "
      f"the cases have rank {rank}. Set it to None for 2D images."
    )
  if len(patch) != expected or min(patch) < 1:
    raise ValueError(
      f"config.data.patch: {patch} has {len(patch)} axes, but the cases have rank {rank}"
      + (f" and are sliced along axis {slices}" if slices is not None else "")
      + f": give {expected} positive sizes"
      + (" (or set config.data.slices to train a 2D network on volumes)." if rank == 3 else ".")
    )
  if slices is not None:
    patch, crop = ((*size[:slices], 1, *size[slices:]) for size in (patch, crop))
    margin = (*margin[:slices], 0, *margin[slices:])
  return Sampling(patch=patch, crop=crop, margin=margin, batch=batch, **options)


def _random(how: Sampling, *where: int) -> np.random.Generator:
  entropy = (how.seed, *where, *((how.stream,) if how.stream else ()))
  return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def choose(dataset: Dataset, cases: Sequence[int], how: Sampling, step: int, slot: int) -> Choice:
  """The patch of a slot: every case once per epoch, in a new order each epoch."""
  number = step * how.batch + slot
  epoch, position = divmod(number, len(cases))
  position = int(_random(how, 0, epoch).permutation(len(cases))[position])
  random = _random(how, 1, number)
  shape = dataset.shape(cases[position])
  # the share is kept exactly over time, whatever the size of the batch
  forced = int((number + 1) * how.foreground) > int(number * how.foreground)
  voxel = None
  if forced or how.annotated or dataset.labels.ignore is not None:
    located = {k: v for k, v in dataset.locations(cases[position]).items() if len(v)}
    # class 0 is what is annotated at all
    classes = sorted(k for k in located if (k > 0) == forced) or sorted(located)
    if classes:
      voxels = located[classes[random.integers(len(classes))]]
      voxel = voxels[random.integers(len(voxels))]
  start = []
  margins = how.margin[: len(shape)]
  for axis, (size, patch, crop, margin) in enumerate(
    zip(shape, how.patch, how.crop, margins, strict=True)
  ):
    # the patch, less its margin, stays inside the case; what is cut out around may reach beyond
    inner = patch - 2 * margin
    room = size - inner
    lowest, highest = (0, room) if room >= 0 else (-((-room + 1) // 2), -(-room // 2))
    if voxel is None:
      first = int(random.integers(lowest, highest + 1))
    else:
      first = int(np.clip(voxel[axis] - inner // 2, lowest, highest))
    start.append(first - margin - (crop - patch) // 2)
  return Choice(position, tuple(start))


class CaseCache:
  """Decoded cases in host memory, the least recently used dropped beyond a limit of bytes."""

  def __init__(self, dataset: Dataset, cases: Sequence[int], limit: int = 8 << 30):
    self._dataset, self._cases, self._limit = dataset, tuple(cases), limit
    self._held: dict[int, dict[str, np.ndarray]] = {}
    self._lock = threading.Lock()

  def __getitem__(self, position: int) -> dict[str, np.ndarray]:
    with self._lock:
      if position in self._held:
        self._held[position] = self._held.pop(position)
        return self._held[position]
    sample = compact(self._dataset.load(self._cases[position]))
    with self._lock:
      self._held[position] = sample
      while len(self._held) > 1 and self._bytes() > self._limit:
        self._held.pop(next(iter(self._held)))
    return sample

  def _bytes(self) -> int:
    return sum(x.nbytes for sample in self._held.values() for x in sample.values())


def compact(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Classes in the smallest type that holds them: what the caches keep."""

  def smallest(row: Kind, array: np.ndarray) -> np.ndarray:
    fits = row.spatial and row.integer and 0 <= array.min(initial=0) <= array.max(initial=0) < 256
    return array.astype(np.uint8) if fits else array

  return by_kind(smallest, sample)


def cut(sample: dict[str, np.ndarray], how: Sampling, choice: Choice) -> dict[str, np.ndarray]:
  """Cuts a patch out of a case on the host; outside the case is each field's pad value."""

  def cropped(row: Kind, array: np.ndarray) -> np.ndarray:
    if not row.spatial:
      return array
    # at least one voxel is kept where there must be one to repeat
    least = int(row.pad is None)
    shape, pads, inside = array.shape[: len(how.crop)], [], []
    for first, size, length in zip(choice.start, how.crop, shape, strict=True):
      low = min(max(0, first), length - least)
      high = min(max(low + least, first + size), length)
      before = min(max(0, -first), size - least)
      inside.append(slice(low, high))
      pads.append((before, size - before - (high - low)))
    return row.padded(array[tuple(inside)], pads)

  return _finish(by_kind(cropped, sample), how, np)


def read_patch(dataset: Dataset, case: int, how: Sampling, choice: Choice) -> dict[str, np.ndarray]:
  """As `cut` from the whole case, but only the part of it that the patch touches is read."""
  starts, sizes = [], []
  for first, size, length in zip(choice.start, how.crop, dataset.shape(case), strict=True):
    # at least one voxel, which fields that go on beyond the case repeat
    low = min(max(0, first), length - 1)
    starts.append(low)
    sizes.append(min(max(low + 1, first + size), length) - low)
  part = dataset.crop(case, starts, sizes)
  moved = tuple(first - low for first, low in zip(choice.start, starts, strict=True))
  return cut(part, how, choice._replace(start=moved))


def _finish(patch: Batch, how: Sampling, numpy) -> Batch:
  """Drops the sliced axis and widens classes."""

  def finished(row: Kind, array):
    if how.slices is not None:
      if row.spatial:
        array = numpy.squeeze(array, how.slices)
      elif row.axes:
        array = numpy.delete(array, how.slices, -1)
    return array.astype(row.dtype) if row.integer else array

  return by_kind(finished, patch)


def device_store(dataset: Dataset, cases: Sequence[int]) -> dict[str, np.ndarray]:
  """All cases in one flat buffer per field, with offsets and shapes: an argument of the step."""
  samples = [compact(dataset.load(case)) for case in cases]
  rank = dataset.rank
  shapes = np.array([s["image"].shape[:rank] for s in samples], np.int32)
  voxels = shapes.astype(np.int64).prod(1)
  if voxels.sum() >= 2**31:
    raise ValueError(
      f"config.data.cache: 'device' holds at most 2^31 voxels, these cases have {voxels.sum()}; "
      "use 'host' or 'disk'."
    )
  store = {"shape": shapes, "offset": np.concatenate([[0], voxels.cumsum()[:-1]]).astype(np.int32)}
  for field, first in samples[0].items():
    if kind(field).spatial:
      channels = first.shape[rank:]
      store[field] = np.concatenate([s[field].reshape(-1, *channels) for s in samples])
    else:
      store[field] = np.stack([s[field] for s in samples])
  return store


def gather(store: dict[str, jax.Array], case, start, *, how: Sampling) -> dict[str, jax.Array]:
  """Cuts one patch out of the device store, inside the compiled step; the same bits as `cut`."""
  shape, offset = store["shape"][case], store["offset"][case]
  flat, inside = jnp.zeros((), jnp.int32), jnp.ones((), bool)
  rank = len(how.crop)
  for axis, size in enumerate(how.crop):
    at = (start[axis] + jnp.arange(size)).reshape([-1 if a == axis else 1 for a in range(rank)])
    within = (at >= 0) & (at < shape[axis])
    inside = _join(inside, within, axis, jnp.logical_and)
    flat = _join(flat * shape[axis], jnp.clip(at, 0, shape[axis] - 1), axis, jnp.add)

  def cropped(row: Kind, buffer: jax.Array) -> jax.Array:
    if not row.spatial:
      return buffer[case]
    values = buffer[offset + flat]
    if row.pad is None:
      return values
    keep = inside.reshape(inside.shape + (1,) * (values.ndim - inside.ndim))
    return jnp.where(keep, values, jnp.asarray(row.pad, values.dtype))

  fields = {name: buffer for name, buffer in store.items() if name not in ("shape", "offset")}
  return _finish(by_kind(cropped, fields), how, jnp)


def _join(a, b, axis: int, combine):
  """Combines a map over the axes before `axis` with one along it, broadcasting explicitly."""
  a = a if axis else a.reshape((1,) * b.ndim)
  shape = jnp.broadcast_shapes(a.shape, b.shape)
  return combine(jnp.broadcast_to(a, shape), jnp.broadcast_to(b, shape))


def sample_batch(store, index: dict[str, jax.Array], *, how: Sampling):
  """The batch of a step from the device store; index = {"case": (b,), "start": (b, rank)}."""
  return jax.vmap(lambda case, start: gather(store, case, start, how=how))(
    index["case"], index["start"]
  )
