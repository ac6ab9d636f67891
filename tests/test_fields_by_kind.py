"""A field is a row of the table: made-up ones go everywhere, as numpy says; no name is known."""

import ast
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from closeness import assert_close
from scipy import ndimage

from jaxseg import augment, batch
from jaxseg.batch import Kind
from jaxseg.data import sampling
from jaxseg.data.stream import MAIN, Feeder, Stream, sample
from jaxseg.inference import Case, slices, sliding_window
from jaxseg.losses import centre_crop_target, deep_supervision

ROOT = pathlib.Path(__file__).parents[1]
KEY = jax.random.key(0)
SHAPES = {2: (10, 13), 3: (8, 10, 13)}


@pytest.fixture(autouse=True)
def rows(monkeypatch):
  """Rows that nothing in the program can know."""
  monkeypatch.setitem(
    batch.FIELDS, "atlas", Kind(channels=True, pad=0.25, order=1, classes=True)
  )  # (*space, k) float
  monkeypatch.setitem(batch.FIELDS, "zones", Kind(pad=None, classes=True, integer=True))  # (*space)
  monkeypatch.setitem(batch.FIELDS, "extent", Kind(spatial=False, axes=True))  # (rank,)


def made_up(shape, seed=0):
  """Values that no two voxels share, and zones that need more than eight bits in every other."""
  random = np.random.default_rng(seed)
  return {
    "atlas": random.random((*shape, 3)).astype(np.float32),
    "zones": random.integers(0, 3 + 500 * (seed % 2), shape).astype(np.int32),
    "extent": np.arange(1, len(shape) + 1, dtype=np.float32),
  }


def case_of(shape, seed=0):
  image = np.random.default_rng(9).normal(size=(*shape, 2)).astype(np.float32)
  return Case({"image": image, "spacing": np.ones(len(shape), np.float32), **made_up(shape, seed)})


def window(values, start, size, **outside):
  """The voxels of a window, which may reach beyond the case, by padding far enough first."""
  far = 40
  pads = [(far, far)] * len(size) + [(0, 0)] * (values.ndim - len(size))
  padded = np.pad(values, pads, **outside)
  return padded[tuple(slice(s + far, s + far + n) for s, n in zip(start, size, strict=True))]


def expected_window(fields, start, size):
  return {
    "atlas": window(fields["atlas"], start, size, constant_values=0.25),
    "zones": window(fields["zones"], start, size, mode="edge"),
    "extent": fields["extent"],
  }


def dataset(rank, slices=None):
  """The toy set, with the fields in its samples."""
  plain = tiny.dataset(cases=3, rank=rank)

  def load(i):
    return {**plain.load(i), **made_up(plain.shape(i), i)}

  def crop(i, start, size):
    region = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
    more = {name: x if x.ndim == 1 else x[region] for name, x in made_up(plain.shape(i), i).items()}
    return {**plain.crop(i, start, size), **more}

  return plain._replace(load=load, crop=crop)


@pytest.mark.parametrize(("rank", "sliced"), [(2, None), (3, None), (3, 1)])
def test_a_new_field_is_sampled_alike_by_all_caches(rank, sliced):
  data = dataset(rank)
  patch = [24, 10, 9][:rank] if sliced is None else (24, 9)
  how = sampling.sampling(rank, patch=patch, batch=3, foreground=0.0, slices=sliced)
  streams = {MAIN: Stream(data, (0, 1, 2), how)}
  feeders = {cache: Feeder(streams, cache=cache) for cache in sampling.CACHES}
  store = jax.device_put(feeders["device"].store())
  for step in range(2):
    choices = [sampling.choose(data, (0, 1, 2), how, step, slot) for slot in range(3)]
    truths = [expected_window(data.load(c.case), c.start, how.crop) for c in choices]
    fed = {cache: feeders[cache].element(step) for cache in sampling.CACHES}
    fed["device"] = sample(streams, store, fed["device"])
    for element in fed.values():
      for slot, truth in enumerate(truths):
        if sliced is not None:
          truth = {**truth, **{f: truth[f].squeeze(sliced) for f in ("atlas", "zones")}}
          truth["extent"] = np.delete(truth["extent"], sliced)
        for field, values in truth.items():
          np.testing.assert_array_equal(element[MAIN][field][slot], values)
          assert element[MAIN][field].dtype == values.dtype


@pytest.mark.parametrize("rank", [2, 3])
def test_a_new_field_is_resampled_with_the_image(rank):
  fields, step = made_up(SHAPES[rank], 1), 1.57  # no voxel lies half-way
  options = {"p_rotation": 0.0, "p_scale": 1.0, "scale": (step, step)}
  out = augment.spatial(KEY, {k: jnp.asarray(v) for k, v in fields.items()}, **options)
  shift = [(n - 1) / 2 * (1 - step) for n in SHAPES[rank]]
  how = {"matrix": step * np.eye(rank), "offset": shift}
  for k in range(3):
    truth = ndimage.affine_transform(
      fields["atlas"][..., k], **how, order=1, mode="grid-constant", cval=0.25
    )
    assert_close(out["atlas"][..., k], truth, atol=1e-5)
  nearest = ndimage.affine_transform(fields["zones"], **how, order=0, mode="nearest")
  np.testing.assert_array_equal(out["zones"], nearest)
  np.testing.assert_array_equal(out["extent"], fields["extent"])


def swapped(fields):
  """Classes 1 and 2 exchanged."""
  zones = fields["zones"]
  return {
    "atlas": fields["atlas"][..., [0, 2, 1]],
    "zones": np.where(zones == 1, 2, np.where(zones == 2, 1, zones)),
  }


@pytest.mark.parametrize("rank", [2, 3])
def test_a_new_field_is_mirrored_and_its_classes_swap(rank):
  fields = made_up(SHAPES[rank])
  for axis in range(rank):
    out = augment.mirror(KEY, fields, p=1.0, axes=(axis,), swap=((1, 2),))
    truth = swapped(fields) if axis == rank - 1 else fields
    for field in ("atlas", "zones"):
      np.testing.assert_array_equal(out[field], np.flip(truth[field], axis))


def test_a_new_field_is_mixed_by_its_kind():
  several = [made_up(SHAPES[2], 2 * n) for n in range(4)]
  # of the same value everywhere, each image tells by what is left of it what was mixed
  image = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1) * np.ones((*SHAPES[2], 1), np.float32)
  batched = {"image": image, **{f: np.stack([s[f] for s in several]) for f in several[0]}}
  del batched["zones"]
  other = {field: np.roll(x, -1, 0) for field, x in batched.items()}
  out = augment.mixup(KEY, batched, classes=3, p=1.0, alpha=2.0)
  share = (out["image"] - other["image"]) / (image - other["image"])
  assert np.ptp(share) > 0.05
  truth = share * batched["atlas"] + (1 - share) * other["atlas"]
  assert_close(out["atlas"], truth, atol=1e-5)
  np.testing.assert_array_equal(out["extent"], batched["extent"])
  batched["label"] = np.stack([s["zones"] for s in several])
  out = augment.cutmix(KEY, batched, p=1.0)
  pasted = out["image"] == other["image"]
  assert 0 < np.mean(pasted) < 1
  np.testing.assert_array_equal(out["atlas"], np.where(pasted, other["atlas"], batched["atlas"]))


@pytest.mark.parametrize("act", [augment.cutmix, augment.mixup])
def test_a_new_field_that_has_no_mixture_is_refused(act):
  zones = {"zones": np.zeros((2, 4, 4), np.int32), "image": np.zeros((2, 4, 4, 1), np.float32)}
  options = {"classes": 3} if act is augment.mixup else {}
  with pytest.raises(ValueError, match="field 'zones' cannot be mixed"):
    act(KEY, zones, **options)


@pytest.mark.parametrize("padding", ["zero", "mirror"])
@pytest.mark.parametrize(("shape", "patch", "margin"), [((10, 13), 8, 1), ((3, 9, 13), 6, 0)])
def test_a_new_field_comes_to_every_window(shape, patch, margin, padding):
  case, inner, seen = case_of(shape), patch - 2 * margin, []

  def apply(fields):
    seen.append(fields)
    inside = (slice(None), *(slice(margin, patch - margin),) * len(shape))
    return {"logits": fields["atlas"][inside]}

  options = {"patch": patch, "margin": margin, "padding": padding, "overlap": 0.0, "batch": 1}
  scores = sliding_window(apply, case, **options)
  np.testing.assert_allclose(scores, case.fields["atlas"], rtol=1e-5)
  lowest = [-(max(0, inner - n) // 2) - margin for n in shape]
  size = (patch,) * len(shape)
  truth = expected_window(case.fields, lowest, size)
  if padding == "mirror":
    mirrored = {"mode": "reflect"}
    truth |= {f: window(case.fields[f], lowest, size, **mirrored) for f in ("atlas", "zones")}
  for field, values in truth.items():
    np.testing.assert_array_equal(seen[0][field][0], values)
    assert seen[0][field].dtype == values.dtype


def test_a_new_field_is_flipped_and_swapped_at_test_time():
  case, seen = case_of((6, 8)), []

  def apply(fields):
    seen.append(fields)
    return {"logits": fields["atlas"]}

  options = {"patch": (6, 8), "batch": 1, "mirror_axes": (0, 1), "swap": ((1, 2),)}
  scores = sliding_window(apply, case, **options)
  # turned back, every view is the field itself
  np.testing.assert_allclose(scores, case.fields["atlas"], rtol=1e-6)
  for fields, axes in zip(seen, [(), (1,), (0,), (0, 1)], strict=True):
    truth = swapped(case.fields) if 1 in axes else case.fields
    for field in ("atlas", "zones"):
      np.testing.assert_array_equal(fields[field][0], np.flip(truth[field], axes))
    np.testing.assert_array_equal(fields["extent"][0], [1, 2])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_new_field_is_sliced(axis):
  case, seen = case_of((5, 6, 7)), []
  plane = [n for a, n in enumerate((5, 6, 7)) if a != axis]

  def apply(fields):
    seen.append(fields)
    return {"logits": fields["atlas"]}

  scores = slices(apply, case, patch=plane, axis=axis, batch=2)
  np.testing.assert_allclose(scores, case.fields["atlas"], rtol=1e-6)
  for field in ("atlas", "zones"):
    np.testing.assert_array_equal(seen[0][field][1], np.take(case.fields[field], 1, axis))
  np.testing.assert_array_equal(seen[0]["extent"][1], np.delete([1, 2, 3], axis))


def test_nested_fields_go_through_windows_by_the_same_rows():
  case, seen = case_of((6, 9)), []
  case = Case({**case.fields, "another": {"image": 2 * case.image, "zones": case.fields["zones"]}})

  def apply(fields):
    seen.append(fields)
    return {"image": fields["another"]["image"]}

  scores = sliding_window(apply, case, patch=(8, 6), mirror_axes=(1,), batch=1, swap=((1, 2),))
  np.testing.assert_allclose(scores, 2 * case.image, rtol=1e-6)
  for fields in seen:
    np.testing.assert_array_equal(fields["another"]["zones"], fields["zones"])
    np.testing.assert_array_equal(fields["another"]["image"], 2 * fields["image"])


def test_a_new_map_reaches_the_loss_on_every_level(monkeypatch):
  monkeypatch.setitem(batch.FIELDS, "edges", Kind(pad=None, target=True, map=True))
  edges = np.random.default_rng(0).random((1, 8, 12)).astype(np.float32)
  fields = {"label": np.zeros((1, 8, 12), np.int32), "edges": edges}
  target, seen = batch.target(fields), []
  assert set(batch.inputs(fields)) == set()

  def loss(logits, target):
    seen.append(np.asarray(target.maps["edges"]))
    return jnp.sum(logits)

  levels = [jnp.zeros((1, 8, 12, 2)), jnp.zeros((1, 4, 4, 2))]
  deep_supervision(loss)(levels, target)
  np.testing.assert_array_equal(seen[0], edges)
  np.testing.assert_array_equal(seen[1], edges[:, 1::2, 1::3])
  cropped = centre_crop_target(target, (4, 6)).maps["edges"]
  np.testing.assert_array_equal(cropped, edges[:, 2:6, 3:9])


@pytest.mark.parametrize(
  "act",
  [
    lambda fields: sliding_window(lambda b: {"logits": b["image"]}, Case(fields), patch=4),
    lambda fields: augment.mirror(KEY, fields),
    lambda fields: augment.spatial(KEY, fields, p_rotation=1.0),
    lambda fields: augment.cutmix(KEY, fields),
    lambda fields: augment.mixup(KEY, fields, classes=2),
    lambda fields: sampling.compact(fields),
    lambda fields: batch.inputs(fields),
  ],
)
def test_a_field_without_a_row_is_told(act):
  fields = {"image": np.zeros((4, 4, 1), np.float32), "unheard_of": np.zeros((4, 4), np.float32)}
  with pytest.raises(
    ValueError, match=r"'unheard_of' has no kind; known fields: image, .*Add a row"
  ):
    act(fields)


def test_a_field_on_another_grid_is_told():
  fields = {**case_of((6, 8)).fields, "atlas": np.zeros((6, 9, 3), np.float32)}
  with pytest.raises(ValueError, match=r"field 'atlas': .*\(6, 9, 3\); expected \(6, 8\)"):
    sliding_window(lambda b: {"logits": b["image"]}, Case(fields), patch=4)


# what sees a batch or a case; the others have words of their own, as the names of files' keys
SEES_FIELDS = ("batch.py", "step.py", "loop.py", "data/sampling.py", "data/stream.py")
SEES_FIELDS += ("data/prepared", "augment", "inference", "losses", "methods", "evaluation", "runs")
SEES_FIELDS += ("config/rehearsal.py", "verbs")


def test_nothing_asks_for_the_name_of_a_field():
  """`field == "prior"` is a rule that belongs in the table; `"prior" in batch` asks for a value."""
  asked, seen = [], 0
  for place in SEES_FIELDS:
    home = ROOT / "jaxseg" / place
    for path in [home] if home.is_file() else home.rglob("*.py"):
      seen += 1
      for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name):
          words = {c.value for of in node.comparators for c in ast.walk(of) if constant(c)}
          if node.left.id in ("name", "field") and words & set(batch.FIELDS):
            asked.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
  assert seen > 60
  assert asked == []


def constant(node) -> bool:
  return isinstance(node, ast.Constant)
