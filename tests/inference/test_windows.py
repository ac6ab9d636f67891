import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.build import bind, options_of
from jaxseg.inference import PREDICTORS, Case, boxed, interactive, slices, sliding_window
from jaxseg.inference.windows import window_starts, window_weights


def case_of(*space, channels=2, seed=0, **fields):
  image = np.random.default_rng(seed).normal(size=(*space, channels)).astype(np.float32)
  spacing = np.arange(1, len(space) + 1, dtype=np.float32)
  return Case({"image": image, "spacing": spacing, **fields})


MIX = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]], np.float32)


@jax.jit
def linear(batch):
  return {"logits": batch["image"] @ MIX + 0.5}


def expected(case):
  return case.image @ MIX + np.float32(0.5)


@pytest.mark.parametrize(
  ("size", "window", "overlap", "starts"),
  [
    (110, 64, 0.5, [0, 23, 46]),  # nnU-Net's own example
    (64, 64, 0.5, [0]),
    (65, 64, 0.5, [0, 1]),
    (96, 64, 0.5, [0, 32]),
    (97, 64, 0.5, [0, 16, 33]),  # 16.5 rounds to even, as numpy does
    (100, 32, 0.25, [0, 23, 45, 68]),
    (128, 32, 0.0, [0, 32, 64, 96]),
    (4, 1, 0.5, [0, 1, 2, 3]),
  ],
)
def test_windows_start_where_nnunet_puts_them(size, window, overlap, starts):
  assert window_starts(size, window, overlap) == starts


@pytest.mark.parametrize("patch", [(64, 64), (20, 35), (8, 16, 24), (1, 12)])
def test_gaussian_weights_are_nnunets(patch):
  peak = np.zeros(patch)
  peak[tuple(n // 2 for n in patch)] = 1
  theirs = ndimage.gaussian_filter(peak, [n / 8 for n in patch], 0, mode="constant", cval=0)
  ours = np.ones(())
  for n in patch:
    ours = ours[..., None] * window_weights(n, "gaussian")
  assert_close(ours, theirs / theirs.max())
  assert ours.min() > 0


@pytest.mark.parametrize("weighting", ["gaussian", "uniform"])
@pytest.mark.parametrize(
  ("space", "patch"),
  [
    ((16, 16), (8, 8)),
    ((17, 23), (8, 6)),
    ((5, 30), (8, 8)),
    ((3, 2), (8, 6)),
    ((9, 11, 13), (4, 8, 6)),
    ((3, 20, 5), (4, 8, 6)),
  ],
)
def test_a_linear_network_is_reproduced_for_any_size(space, patch, weighting):
  case = case_of(*space)
  scores = sliding_window(linear, case, patch=patch, batch=3, weighting=weighting)
  assert scores.dtype == np.float32
  assert scores.shape == (*space, 3)
  assert_close(scores, expected(case), atol=1e-5)


def test_overlapping_windows_are_averaged_by_their_weights():
  def ramp(batch):
    # each window scores its own voxels by their place in it
    place = np.arange(8, dtype=np.float32)[None, :, None]
    return {"logits": np.broadcast_to(place, (len(batch["image"]), 8, 1))}

  scores = sliding_window(ramp, case_of(12), patch=8, overlap=0.5)[:, 0]
  weights = np.exp(-0.5 * (np.arange(8) - 4.0) ** 2)
  for x in range(12):
    inside = [x - start for start in (0, 4) if 0 <= x - start < 8]
    mean = sum(weights[i] * i for i in inside) / sum(weights[i] for i in inside)
    assert scores[x] == pytest.approx(mean, rel=1e-5)


def test_one_compilation_serves_all_cases():
  traces = []

  @jax.jit
  def apply(batch):
    traces.append(batch["image"].shape)
    assert batch["spacing"].shape == (4, 2)
    return {"logits": batch["image"] @ MIX}

  for space in ((8, 8), (9, 30), (40, 7), (3, 3)):
    sliding_window(apply, case_of(*space), patch=8)
  assert traces == [(4, 8, 8, 2)]


def test_patches_are_rounded_up_to_the_networks_stride():
  def apply(batch):
    assert batch["image"].shape[1:] == (12, 16, 2)
    return linear(batch)

  case = case_of(20, 21)
  scores = sliding_window(apply, case, patch=(10, 16), total_stride=(4, 8))
  assert_close(scores, expected(case), atol=1e-5)


def valid_sum(batch):
  """A valid convolution with a 3 x 5 box: loses (1, 2) voxels per side."""
  image = batch["image"][..., :1]
  out = jax.lax.reduce_window(image, 0.0, jax.lax.add, (1, 3, 5, 1), (1, 1, 1, 1), "VALID")
  return {"logits": out}


@pytest.mark.parametrize("space", [(20, 19), (4, 30), (2, 3)])
@pytest.mark.parametrize(("padding", "mode"), [("zero", "constant"), ("mirror", "mirror")])
def test_valid_convolutions_tile_by_their_output(space, padding, mode):
  case = case_of(*space)
  scores = sliding_window(
    jax.jit(valid_sum), case, patch=(8, 12), margin=(1, 2), padding=padding, overlap=0.0
  )
  truth = ndimage.correlate(case.image[..., 0], np.ones((3, 5)), mode=mode)
  np.testing.assert_allclose(scores[..., 0], truth, rtol=1e-4, atol=1e-5)


def test_mirrored_windows_are_averaged_after_flipping_back():
  def shifted(batch):
    image = batch["image"][..., :1]
    return {"logits": jnp.pad(image, ((0, 0), (1, 0), (2, 0), (0, 0)))[:, :-1, :-2]}

  case = case_of(8, 10)
  x = case.image[..., 0]
  scores = sliding_window(shifted, case, patch=(8, 10), mirror_axes=(0, 1))[..., 0]
  total = np.zeros_like(x)
  for down in (1, -1):
    for right in (2, -2):
      total += ndimage.shift(x, (down, right), order=0)
  assert_close(scores, total / 4, atol=1e-6)


def test_left_and_right_classes_swap_when_mirrored():
  def which_half(batch):
    # class 1 on the left of the window, class 2 on the right, whatever it shows
    b, h, w = batch["image"].shape[:3]
    left = jnp.broadcast_to((jnp.arange(w) < w // 2).reshape(1, 1, w), (b, h, w))
    return {"logits": jnp.stack([jnp.zeros((b, h, w)), left, ~left], -1).astype(jnp.float32)}

  plain = sliding_window(which_half, case_of(4, 6), patch=(4, 6))
  options = {"patch": (4, 6), "mirror_axes": (0, 1)}
  swapped = sliding_window(which_half, case_of(4, 6), swap=((1, 2),), **options)
  assert_close(swapped, plain, atol=1e-6)
  mixed = sliding_window(which_half, case_of(4, 6), **options)
  assert_close(mixed[..., 1:], 0.5, atol=1e-6)


def test_a_prior_is_cut_with_the_image():
  prior = np.random.default_rng(1).normal(size=(11, 9, 3)).astype(np.float32)
  case = case_of(11, 9, prior=prior)
  scores = sliding_window(
    lambda batch: {"logits": batch["image"] @ MIX + batch["prior"]}, case, patch=8
  )
  np.testing.assert_allclose(scores, case.image @ MIX + prior, rtol=1e-4, atol=1e-5)


def test_progress_counts_windows():
  seen = []
  sliding_window(linear, case_of(16, 20), patch=8, progress=lambda *counts: seen.append(counts))
  assert seen == [(4, 12), (8, 12), (12, 12)]


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"patch": (8, 8, 8)}, r"predictor.patch: \(8, 8, 8\).*rank 2"),
    ({"patch": 8, "overlap": 1.0}, "predictor.overlap: 1.0"),
    ({"patch": 8, "weighting": "gauss"}, "predictor.weighting: 'gauss'.*gaussian, uniform"),
    ({"patch": 8, "padding": "edge"}, "predictor.padding: 'edge'.*zero, mirror"),
    ({"patch": 8, "margin": 4}, r"leaves nothing after a margin of \(4, 4\)"),
    ({"patch": 8, "margin": 1}, r"logits of shape \(4, 8, 8, 3\); expected \(4, 6, 6\)"),
    ({"patch": 8, "classes": 4}, "gave 3 channels; expected 4"),
    ({"patch": 8, "mirror_axes": (2,)}, r"predictor.mirror_axes: \(2,\)"),
    ({"patch": 8, "batch": 0}, "predictor.batch: 0"),
  ],
)
def test_wrong_options_are_refused_in_words(options, message):
  with pytest.raises(ValueError, match=message):
    sliding_window(linear, case_of(16, 16), **options)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_apply_a_2d_network_along_any_axis(axis):
  kernel = np.array([[0, 1, 0], [1, 2, -1], [0, 3, 0]], np.float32)
  traces = []

  @jax.jit
  def apply(batch):
    traces.append(batch["image"].shape)
    kept = [i + 1 for i in range(3) if i != axis]
    np.testing.assert_array_equal(batch["spacing"].shape, (4, 2))
    image = jnp.moveaxis(batch["image"][..., :1], -1, 1)
    out = jax.lax.conv(image, kernel[None, None], (1, 1), "SAME")
    spacing = batch["spacing"] - jnp.asarray(kept, jnp.float32)[None]
    return {"logits": jnp.moveaxis(out, 1, -1) + spacing.sum()}

  case = case_of(5, 6, 7)
  plane = [n for i, n in enumerate((5, 6, 7)) if i != axis]
  scores = slices(apply, case, patch=plane, axis=axis)[..., 0]
  assert scores.shape == (5, 6, 7)
  assert traces == [(4, *plane, 2)]
  for i in range(case.image.shape[axis]):
    section = np.take(case.image[..., 0], i, axis)
    truth = ndimage.correlate(section, kernel, mode="constant")
    np.testing.assert_allclose(np.take(scores, i, axis), truth, rtol=1e-4, atol=1e-5)


def test_slices_take_every_option_of_the_sliding_window():
  case = case_of(5, 20, 13)
  options = {"patch": (8, 10), "overlap": 0.25, "batch": 3, "weighting": "uniform", "classes": 3}
  scores = slices(linear, case, total_stride=4, mirror_axes=(0, 1), **options)
  assert_close(scores, expected(case), atol=1e-5)


def test_slices_have_every_option_of_the_sliding_window_in_their_signature():
  """Which is what a config is checked against: names, types and ranges."""
  own, theirs = options_of(slices), options_of(sliding_window)
  assert set(own) == set(theirs) | {"axis"}
  assert {name: option.annotation for name, option in theirs.items()} == {
    name: own[name].annotation for name in theirs
  }
  table = {"slices": slices}
  for option, words in (
    ({"overlp": 0.5}, r"overlp: 'slices' has no such option \(did you mean 'overlap'\?\)"),
    ({"overlap": 1.0}, r"overlap: 1.0; expected a number"),
    ({"batch": 0.5}, r"batch: 0.5; expected a whole number from 1"),
    ({"options": {}}, r"options: 'slices' has no such option"),
  ):
    with pytest.raises(ValueError, match=rf"config\.predictor\.{words}"):
      bind(table, {"name": "slices", **option}, "predictor")


def test_slices_of_a_picture_are_the_picture():
  case = case_of(20, 13)
  np.testing.assert_array_equal(
    slices(linear, case, patch=8), sliding_window(linear, case, patch=8)
  )


def test_slices_swap_left_and_right_in_the_plane():
  def which_half(batch):
    b, h, w = batch["image"].shape[:3]
    left = jnp.broadcast_to((jnp.arange(w) < w // 2).reshape(1, 1, w), (b, h, w))
    return {"logits": jnp.stack([jnp.zeros((b, h, w)), left, ~left], -1).astype(jnp.float32)}

  case = case_of(4, 3, 6)
  options = {"patch": (4, 6), "axis": 1}
  flips = {"mirror_axes": (0, 1), "swap": ((1, 2),)}
  assert_close(
    slices(which_half, case, **options, **flips), slices(which_half, case, **options), atol=1e-6
  )


def test_slices_of_no_volume_are_refused():
  with pytest.raises(ValueError, match="expected a volume"):
    slices(linear, case_of(4), patch=8)


def test_every_predictor_is_in_the_table():
  assert {
    "sliding_window": sliding_window,
    "slices": slices,
    "boxed": boxed,
    "interactive": interactive,
  } == PREDICTORS


def test_windows_over_four_devices_need_a_quarter_of_the_calls():
  case, sizes = case_of(40, 24), []

  def apply(batch):
    sizes.append(len(batch["image"]))
    return linear(batch)

  options = {"patch": 8, "overlap": 0.5, "batch": 2}
  one = sliding_window(apply, case, **options)
  alone, sizes = sizes, []
  four = sliding_window(apply, case, devices=4, **options)
  assert (set(alone), set(sizes)) == ({2}, {8})
  assert len(sizes) == -(-len(alone) // 4)
  np.testing.assert_array_equal(one, four)
