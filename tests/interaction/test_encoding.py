"""Which channels prompts are, and what is refused of a config's `prompts`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.interaction import channels, encoding_of, joined, pack, show

SPACE = (12, 12)
NNINTERACTIVE = dict(
  points=dict(name="ball", radius=4), boxes="all", strokes="apart", previous="mask", decay=0.98
)
SCRIBBLEPROMPT = dict(
  points=dict(name="disk", radius=0), boxes="foreground", strokes="points", previous="logits"
)
RITM = dict(points=dict(name="disk", radius=5.0), previous="probabilities")


@pytest.mark.parametrize(
  ("spec", "count"),
  # beside the image: nnInteractive 7, ScribblePrompt 4, RITM 3 ("3p"), DeepEdit one per class
  [(NNINTERACTIVE, 7), (SCRIBBLEPROMPT, 4), (RITM, 3), (dict(points="gaussian"), 2)],
)
def test_published_encodings_have_their_number_of_channels(spec, count):
  of = encoding_of(spec)
  assert channels(of, 2) == count
  shown = show(of, pack([], SPACE, classes=2), SPACE, classes=2)
  assert list(shown) == list(of.fields)
  batch = {"image": jnp.zeros((1, *SPACE, 1)), **{k: v[None] for k, v in shown.items()}}
  assert joined(of, batch, 2).shape == (1, *SPACE, 1 + count)


@pytest.mark.parametrize(
  "spec",
  [
    NNINTERACTIVE,
    SCRIBBLEPROMPT,
    RITM,
    dict(points="tanh"),
    dict(points=dict(name="geodesic", limit=3.0), strokes="points"),
  ],
)
def test_without_fields_a_network_sees_what_it_sees_of_no_prompts(spec):
  of = encoding_of(spec)
  image = jnp.ones((1, *SPACE, 1))
  nothing = show(of, pack([], SPACE, classes=3), SPACE, classes=3, image=image[0])
  batch = {"image": image, **{name: x[None] for name, x in nothing.items()}}
  np.testing.assert_array_equal(joined(of, {"image": image}, 3), joined(of, batch, 3))


def test_the_order_is_previous_boxes_points_strokes_and_of_each_the_background_first():
  of = encoding_of(NNINTERACTIVE | {"decay": 1.0})
  prompts = [
    {"class": 0, "point": (2, 2)},
    {"class": 1, "point": (9, 9)},
    {"class": 1, "box": ((1, 1), (3, 3))},
    {"class": 0, "stroke": ((6, 6),)},
  ]
  logits = np.zeros((*SPACE, 2), np.float32)
  logits[4, 5, 1] = 1
  shown = show(of, pack(prompts, SPACE, classes=2), SPACE, classes=2, previous=logits)
  batch = {"image": jnp.zeros((1, *SPACE, 1)), **{k: v[None] for k, v in shown.items()}}
  seen = np.asarray(joined(of, batch, 2))[0]
  assert np.argwhere(seen[..., 1]).tolist() == [[4, 5]]
  assert not seen[..., 2].any()
  assert seen[..., 3].sum() == 9
  assert np.unravel_index(seen[..., 4].argmax(), SPACE) == (2, 2)
  assert np.unravel_index(seen[..., 5].argmax(), SPACE) == (9, 9)
  assert seen[6, 6, 6] == 1
  assert not seen[..., 7].any()


def test_each_turn_makes_older_marks_weaker_as_many_faded_maps_do():
  of = encoding_of(NNINTERACTIVE)
  turns = [
    [{"class": 1, "point": (3, 3)}],
    [{"class": 1, "point": (4, 5)}, {"class": 1, "stroke": ((8, 1), (8, 9))}],
    [{"class": 1, "box": ((0, 0), (5, 5))}],
  ]
  packed = pack([p for turn in turns for p in turn], SPACE, classes=2)
  ages = np.zeros(24, int), np.zeros(4, int), np.zeros(256, int)
  ages[0][:2], ages[2][:1] = (2, 1), 1
  together = jax.jit(lambda p, a: show(of, p, SPACE, classes=2, ages=a))(packed, ages)
  plain = encoding_of(NNINTERACTIVE | {"decay": 1.0})
  expected = None
  for turn in turns:
    alone = show(plain, pack(turn, SPACE, classes=2), SPACE, classes=2)
    faded = {k: 0.98 * v for k, v in expected.items()} if expected else alone
    expected = {k: jnp.maximum(faded[k], v) for k, v in alone.items()}
  for name in ("prompt_box", "click_heat", "strokes"):
    assert_close(together[name], expected[name])


def test_logits_before_are_those_of_a_class_against_all_others():
  of = encoding_of(dict(points="disk", previous="logits"))
  logits = np.random.default_rng(0).normal(size=(*SPACE, 3)).astype(np.float32)
  shown = show(of, pack([], SPACE, classes=3), SPACE, classes=3, previous=logits)["previous"]
  share = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  assert_close(shown, np.log(share / (1 - share)), rtol=1e-4)


def test_painted_strokes_and_encircled_voxels_are_seen_beside_the_others():
  of = encoding_of(NNINTERACTIVE)
  painted = np.zeros((*SPACE, 2), np.float32)
  painted[2, 3, 1] = 1
  prompts = pack([{"class": 1, "stroke": ((9, 9),)}], SPACE, classes=2)
  drawn = {"strokes": painted, "prompt_box": painted}
  shown = show(of, prompts, SPACE, classes=2, drawn=drawn)
  assert shown["strokes"][2, 3, 1] == shown["strokes"][9, 9, 1] == 1
  assert np.argwhere(shown["prompt_box"]).tolist() == [[2, 3, 1]]


@pytest.mark.parametrize(
  ("spec", "words"),
  [
    ({}, "shows no prompts"),
    (dict(previous="mask"), "shows no prompts"),
    (dict(points="dsik"), "did you mean 'disk'"),
    (dict(points=dict(name="disk", raduis=3)), "did you mean 'radius'"),
    (dict(point="disk"), "did you mean 'points'"),
    (dict(points="disk", previous="masks"), "choices: 'mask'"),
    (dict(points="disk", boxes="both"), "choices: 'all'"),
    (dict(points="disk", decay=0.0), "more than 0, at most 1"),
    (dict(points="disk", thickness=-1.0), "0 or more"),
    (dict(points="tanh", strokes="points"), "strokes='apart'"),
    (dict(points="tanh", decay=0.9), "not 0 far from them"),
    (dict(points=dict(name="geodesic", limit=1.0), strokes="apart"), "begin at points and strokes"),
    ("disk", "expected a dict"),
  ],
)
def test_what_has_no_meaning_is_refused_in_words(spec, words):
  with pytest.raises(ValueError, match=r"^config\.method\.prompts") as error:
    encoding_of(spec)
  assert words in str(error.value)


def test_some_fields_without_the_others_are_refused():
  of = encoding_of(RITM)
  with pytest.raises(ValueError, match="'previous' has no 'clicks'"):
    joined(of, {"image": jnp.zeros((1, *SPACE, 1)), "previous": jnp.zeros((1, *SPACE, 2))}, 2)
