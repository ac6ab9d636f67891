"""Detection, then segmentation: the detector's targets, the method, the fallback."""

import fixed_batch
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of

from jaxseg import sharding
from jaxseg.losses import LOSSES
from jaxseg.losses.detection import box_loss, heat_map_loss
from jaxseg.method import forward
from jaxseg.methods import METHODS
from jaxseg.methods.detected import _coded, true_boxes
from jaxseg.networks import NETWORKS, DetectThenSegment
from jaxseg.networks.blocks.boxes import encode
from jaxseg.networks.blocks.centre_detector import cell_boxes, detect, heat_map

SMALL = dict(
  segmenter=dict(name="unet", widths=(4, 6), depth=1, decoder_depth=1),
  roi=8,
  detector_widths=(4, 6, 6),
  detector_level=1,
  detector_features=4,
)


def network(**options):
  return NETWORKS["detect_then_segment"](**{**SMALL, **options})


def scheme(net, **options):
  return METHODS["detected"](net, LOSSES["cross_entropy"], optax.sgd(0.05), **options)


def batch_of(rank=2):
  rng = np.random.default_rng(0)
  label = np.zeros((4, *(16,) * rank), np.int32)
  for i in range(3):  # nothing in the last one
    low = rng.integers(0, 8, rank)
    label[(i, *(slice(n, n + 6) for n in low))] = 1
    label[(i, *(slice(n + 2, n + 4) for n in low))] = 2
  image = label[..., None] + 0.1 * rng.standard_normal((*label.shape, 1))
  return {"image": jnp.asarray(image, jnp.float32), "label": jnp.asarray(label)}


def test_true_boxes_are_the_foregrounds_or_each_classs():
  labels = np.zeros((2, 8, 9), np.int32)
  labels[0, 1:3, 2:5] = 1
  labels[0, 4:7, 5:9] = 3
  soft = np.eye(4, dtype=np.float32)[labels]

  @jax.jit
  def run(labels, soft):
    each = {"classes": 4, "objects": "classes"}
    regions = true_boxes(soft, regions=True, **each)
    return true_boxes(labels, 4), true_boxes(labels, **each), true_boxes(soft, **each), regions

  whole, each, of_soft, regions = run(labels, soft)
  np.testing.assert_array_equal(whole, [[[1, 2, 7, 9]], [[0, 0, 0, 0]]])
  np.testing.assert_array_equal(each[0], [[1, 2, 3, 5], [0, 0, 0, 0], [4, 5, 7, 9]])
  np.testing.assert_array_equal(of_soft, each)
  np.testing.assert_array_equal(regions[1], [[0, 0, 8, 9], [0] * 4, [0] * 4, [0] * 4])


def test_a_heat_map_is_one_at_the_centres_cell_and_falls_off_as_a_gaussian():
  boxes = jnp.asarray([[[4.0, 8.0, 12.0, 40.0]], [[0, 0, 0, 0]]])  # centre (8, 24), size (8, 32)
  got, none = np.asarray(jax.jit(lambda b: heat_map(b, (6, 12), 4))(boxes))[..., 0]
  assert got[2, 6] == 1
  assert got.argmax() == 2 * 12 + 6
  assert_close(got[2, 7], np.exp(-1 / (2 * (8 * 0.09) ** 2)))
  np.testing.assert_allclose(got[3, 6], np.exp(-1 / (2 * (2 * 0.09) ** 2)), rtol=1e-4)
  np.testing.assert_array_equal(none, 0)


def test_the_heat_map_loss_is_the_papers():
  logits, truth = jnp.asarray([[0.0, 0.0, 2.0]]), jnp.asarray([[1.0, 0.5, 0.0]])
  p = 1 / (1 + np.exp(-2.0))
  expected = 0.25 * np.log(2) + 0.5**4 * 0.25 * np.log(2) - p**2 * np.log(1 - p)
  assert_close(heat_map_loss(logits, truth), expected)
  assert_close(heat_map_loss(logits, jnp.zeros((1, 3))), 0.5 * np.log(2) - p**2 * np.log(1 - p))


def test_the_box_loss_is_smooth_l1_over_what_is_there():
  said = jnp.asarray([[[0.5, 3.0], [9.0, 9.0]]])
  told = box_loss(said, jnp.zeros((1, 2, 2)), jnp.asarray([[True, False]]))
  assert_close(told, (0.125 + 2.5) / 2)
  assert box_loss(said, jnp.zeros((1, 2, 2)), jnp.zeros((1, 2), bool)) == 0


@pytest.mark.parametrize("rank", [2, 3])
def test_a_perfect_detectors_boxes_are_the_true_ones(rank):
  """Heat map and offsets as the targets say -> the boxes, found again; nothing where nothing is."""
  boxes = np.zeros((2, 2, 2 * rank), np.float32)
  boxes[0, 0] = [2] * rank + [9] * rank
  boxes[0, 1] = [11] * rank + [15] * rank
  cells, stride = (8,) * rank, 2

  @jax.jit
  def run(boxes):
    heat = heat_map(boxes, cells, stride)
    references = cell_boxes(cells, stride)
    big, small = (
      encode(jnp.broadcast_to(boxes[0, k], references.shape), references) for k in (0, 1)
    )
    half = jnp.arange(8).reshape(8, *(1,) * rank) < 5
    offsets = jnp.broadcast_to(jnp.where(half, big, small)[None], (2, *big.shape))
    found = detect(40 * heat - 20, offsets, (16,) * rank, stride=stride, limit=3)
    return *found, _coded(offsets, boxes, stride)

  found, scores, (said, told, there) = run(boxes)
  np.testing.assert_allclose(sorted(found[0, :2].tolist()), boxes[0], atol=1e-3)
  np.testing.assert_array_equal(found[0, 2], 0)
  np.testing.assert_array_equal(found[1], 0)
  np.testing.assert_array_equal(scores > 0.5, [[True, True, False], [False] * 3])
  np.testing.assert_array_equal(there, [[True, True], [False, False]])
  assert_close(said[0], told[0], atol=1e-5)
  assert np.isfinite(told).all()


@pytest.mark.parametrize(
  "options",
  [
    {},
    {
      "train_on": "predicted",
      "objects": "classes",
      "heat_weight": 2.0,
      "freeze_statistics": True,
    },
  ],
)
def test_the_loss_falls_without_recompilation_and_the_detector_learns(options):
  net = network(detections=2 if "objects" in options else 1)
  first, state, metrics = fixed_batch.train(scheme(net, **options), batch_of())
  parts = metrics["segmentation_loss"] + metrics["box_loss"]
  parts += options.get("heat_weight", 1) * metrics["heat_loss"]
  assert_close(metrics["loss"], parts)
  old, new = (s.learners["network"].params for s in (first, state))
  for path, leaf in jax.tree_util.tree_leaves_with_path(jax.tree.map(np.subtract, old, new)):
    assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)
  old, new = (s.learners["network"].stats for s in (first, state))
  same = jax.tree.leaves(jax.tree.map(np.array_equal, old, new))
  assert same
  assert all(same) is options.get("freeze_statistics", False)


def test_volumes_train_and_predict():
  method, batch = scheme(network()), batch_of(3)
  state = jax.eval_shape(method.init, jax.random.key(0), batch)
  after, _ = jax.eval_shape(method.train_step, state, batch, jax.random.key(0))
  assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
  out = jax.eval_shape(method.apply, state, batch)
  assert out["logits"].shape == (4, 16, 16, 16, 3)
  assert out["heat"].shape == (4, 8, 8, 8, 1)
  assert out["boxes"].shape == (4, 1, 6)


def test_one_and_two_devices_agree():
  method, batch = scheme(network()), batch_of()
  start, results = state_of(method, batch), []
  for devices in (jax.devices()[:1], jax.devices()[:2]):
    layout = sharding.layout(batches={}, devices=devices)
    state = jax.device_put(start, layout.replicated)
    split = sharding.place(batch, layout.split)
    key = jax.device_put(jax.random.key(1), layout.replicated)
    state, _ = jax.jit(method.train_step)(state, split, key)
    results.append(state.learners["network"].params)
  for a, b in zip(*(jax.tree.leaves(r) for r in results), strict=True):
    assert_close(a, b, atol=2e-6)


def test_without_a_detection_the_whole_image_is_segmented_and_with_a_box_only_that():
  x = batch_of()["image"]
  net = network(context=0.25)
  method = scheme(net)
  state = state_of(method, {"image": x})
  own = state.learners["network"]
  # a head that says "nothing" everywhere
  params = jax.tree.map(lambda p: p, own.params)
  params["detector"]["heat_head"]["bias"] = jnp.full((1,), -50.0)
  given = jnp.zeros((4, 1, 4)).at[0, 0].set(jnp.asarray([4.0, 6.0, 8.0, 14.0]))

  @jax.jit
  def run(params):
    return forward(net, params, own.stats, x)[0], forward(net, params, own.stats, x, given)[0]

  nothing, told = run(params)
  np.testing.assert_array_equal(nothing["boxes"], [[[0, 0, 16, 16]]] * 4)
  np.testing.assert_array_equal(nothing["scores"], 0)
  # the box and a quarter of its size on each side, clipped
  np.testing.assert_array_equal(told["boxes"][0], [[3, 4, 9, 16]])
  np.testing.assert_array_equal(told["boxes"][1:], [[[0, 0, 16, 16]]] * 3)
  outside = np.ones((16, 16), bool)
  outside[3:9, 4:16] = False
  np.testing.assert_array_equal(told["logits"][0][outside], [[0, -10, -10]] * outside.sum())
  assert (np.asarray(told["logits"])[0][~outside] != np.float32([0, -10, -10])).any()
  np.testing.assert_array_equal(told["logits"][1:], nothing["logits"][1:])


def test_bad_options_are_told():
  with pytest.raises(ValueError, match="trains the network 'detect_then_segment', got UNet"):
    scheme(NETWORKS["unet"]())
  with pytest.raises(ValueError, match="train_on='both' is unknown; choices: truth, predicted"):
    scheme(network(), train_on="both")
  with pytest.raises(
    ValueError, match="detector_level=3; 3 detector_widths have the levels 0 to 2"
  ):
    network(detector_level=3)
  with pytest.raises(ValueError, match="detections=0; expected 1 to candidates=64"):
    DetectThenSegment(detections=0)
