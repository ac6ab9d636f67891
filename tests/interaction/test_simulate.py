"""What a simulated user marks: where, of which class, and how it is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.interaction import encoding, simulate
from jaxseg.interaction.prompts import NONE

SPACE = (14, 12)


def blobs(space=SPACE, classes=3, seed=0):
  """Smooth regions of each class."""
  random = np.random.default_rng(seed)
  fields = ndimage.gaussian_filter(
    random.standard_normal((classes, *space)), (0, *[2] * len(space))
  )
  return fields.argmax(0).astype(np.int32)


def test_voxels_are_drawn_from_a_mask_alone_and_all_of_it():
  mask = np.zeros((3, 4), bool)
  mask[0, 3] = mask[2, 0] = mask[2, 3] = True
  points = np.asarray(simulate.somewhere(jax.random.key(0), jnp.asarray(mask), 3000))
  places, counts = np.unique(points, axis=0, return_counts=True)
  np.testing.assert_array_equal(places, np.argwhere(mask))
  assert_close(counts / 3000, [1 / 3] * 3, atol=0.04)
  empty = simulate.somewhere(jax.random.key(0), jnp.zeros((3, 4), bool), 2)
  assert empty.shape == (2, 2)


def test_points_take_the_first_free_places_as_far_as_there_is_room():
  user = simulate.nothing(SPACE, classes=3, points=3)
  new = jnp.array([[1, 1], [2, 2], [3, 3]]), jnp.array([0, 1, 2]), jnp.array([True, False, True])
  user = simulate.with_points(user, *new)
  np.testing.assert_array_equal(user.prompts.points[:2], [[1, 1], [3, 3]])
  np.testing.assert_array_equal(user.prompts.point_class, [0, 2, NONE])
  user = simulate.next_turn(user)
  more = jnp.array([[4, 4], [5, 5]]), jnp.array([1, 1]), jnp.array([True, True])
  user = simulate.with_points(user, *more)
  np.testing.assert_array_equal(user.prompts.points[2], [4, 4])
  np.testing.assert_array_equal(user.made[0], [0, 0, 1])


def test_what_was_drawn_fades_and_the_new_is_whole():
  user = simulate.nothing(SPACE, classes=2, drawn=("strokes",))
  first, second = np.zeros((2, 1, *SPACE), bool)
  first[0, 2], second[0, 4] = True, True
  one = jnp.array([1]), jnp.array([True])
  user = simulate.next_turn(simulate.with_drawn(user, "strokes", first, *one), 0.5)
  user = simulate.with_drawn(user, "strokes", second, *one)
  assert_close(user.drawn["strokes"][2:5, 0, 1], [0.5, 0, 1])
  assert not user.drawn["strokes"][..., 0].any()


@pytest.mark.parametrize(
  "spec",
  [
    {"points": "disk", "strokes": "apart", "boxes": "all", "previous": "mask"},
    {"points": "tanh"},
    {"points": "ball", "decay": 0.9},
    {"points": {"name": "geodesic", "limit": 2.0}, "strokes": "points"},
  ],
)
def test_hidden_marks_are_seen_as_no_marks_at_all(spec):
  of = encoding.encoding_of(spec)
  image = jnp.asarray(np.random.default_rng(0).standard_normal((*SPACE, 1)), jnp.float32)
  user = simulate.nothing(SPACE, classes=3, points=2, boxes=1, drawn=("strokes", "prompt_box"))
  user = simulate.with_points(user, jnp.array([[3, 3]]), jnp.array([1]), jnp.array([True]))
  mask = np.ones((1, *SPACE), bool)
  user = simulate.with_drawn(user, "strokes", mask, jnp.array([2]), jnp.array([True]))

  def channels(hide):
    fields = simulate.sight(of, simulate.hidden(user, jnp.asarray(hide)), image, classes=3)
    return encoding.joined(of, {"image": image[None], **{k: v[None] for k, v in fields.items()}}, 3)

  nothing = encoding.joined(of, {"image": image[None]}, 3)
  np.testing.assert_array_equal(channels(True), nothing)
  assert (np.asarray(channels(False)) != nothing).any()


@pytest.mark.parametrize("space", [SPACE, (9, 10, 8)])
def test_first_clicks_lie_in_their_class_and_none_where_nothing_is_known(space):
  truth = blobs(space)
  truth[truth == 2] = 0  # an absent class
  weight = np.ones(space, np.float32)
  weight[: space[0] // 3] = 0

  @jax.jit
  def clicks(key):
    return simulate.first_clicks(key, truth, weight, classes=3, most=5)

  numbers = []
  for seed in range(30):
    points, of_class, there = (np.asarray(x) for x in clicks(jax.random.key(seed)))
    numbers.append([(there & (of_class == k)).sum() for k in range(3)])
    at = tuple(points[there].T)
    np.testing.assert_array_equal(truth[at], of_class[there])
    assert (weight[at] > 0).all()
  numbers = np.array(numbers)
  assert (numbers[:, 1] >= 1).all()
  assert (numbers[:, 0] == 0).any()
  assert not numbers[:, 2].any()
  assert numbers.max() == 5


def test_one_more_first_click_is_as_likely_as_it_should_be():
  truth = np.ones(SPACE, np.int32)
  truth[:4] = 0

  @jax.jit
  @jax.vmap
  def numbers(key):
    of = simulate.first_clicks(key, truth, np.ones(SPACE), classes=2, most=3, decline=0.5)
    return jnp.stack([(of[2] & (of[1] == k)).sum() for k in range(2)])

  drawn = np.asarray(numbers(jax.random.split(jax.random.key(0), 4000)))
  share = 0.5 ** np.arange(4)
  background = [(drawn[:, 0] == k).mean() for k in range(4)]
  assert_close(background, share / share.sum(), atol=0.03)
  foreground = [(drawn[:, 1] == k).mean() for k in range(1, 4)]
  assert_close(foreground, share[:3] / share[:3].sum(), atol=0.03)


def test_deep_voxels_of_an_error_are_likelier_by_the_published_rule():
  truth = np.zeros((7, 9), np.int32)
  truth[1:6, 2:7] = 1
  wrong = truth == 1

  @jax.jit
  @jax.vmap
  def clicks(key):
    return simulate.click_of_each(key, wrong, truth, classes=2)

  points, there = clicks(jax.random.split(jax.random.key(0), 20000))
  assert not there[:, 0].any()
  assert there[:, 1].all()
  odds = np.where(
    wrong, np.exp(ndimage.distance_transform_edt(np.pad(wrong, 1))[1:-1, 1:-1]) - 1, 0
  )
  counts = np.zeros(truth.shape)
  np.add.at(counts, tuple(np.asarray(points[:, 1]).T), 1)
  assert_close(counts / 20000, odds / odds.sum(), atol=0.01)


def test_of_two_classes_the_second_is_said_above_a_threshold():
  logits = np.log(np.array([[0.515, 0.485], [0.505, 0.495], [0.45, 0.55]]))
  np.testing.assert_array_equal(simulate.decided(logits), [0, 0, 1])
  np.testing.assert_array_equal(simulate.decided(logits, threshold=0.49), [0, 1, 1])
  np.testing.assert_array_equal(simulate.decided(np.eye(3)), [0, 1, 2])
