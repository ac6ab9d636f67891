"""Windows where a user points: how many, where, and what stays as it was."""

import numpy as np
import pytest

from jaxseg.inference import Case, interactive, sliding_window
from jaxseg.inference.interactive import Focus, Window


def case_of(*space):
  image = np.random.default_rng(0).random((*space, 1)).astype(np.float32)
  return Case({"image": image, "spacing": np.ones(len(space), np.float32)})


def threshold(level=0.5):
  """A network that sees foreground where the image is bright, and what it was asked."""
  asked = []

  def apply(batch):
    asked.append({name: np.asarray(of) for name, of in batch.items()})
    bright = np.asarray(batch["image"])[..., 0] - level
    return {"logits": np.stack([-bright, bright], -1).astype(np.float32)}

  return apply, asked


def focus(space, low, high=None, *, before=None, fresh=False, prompts=None):
  logits = np.zeros((*space, 2), np.float32)
  logits[..., 0] = 1
  before = logits if before is None else before
  return Focus(((low, high or low),), before, fresh, prompts or (lambda *_: {}))


def test_without_a_focus_it_is_a_sliding_window():
  case, (apply, _) = case_of(20, 30), threshold()
  options = {"patch": 16, "overlap": 0.5, "batch": 2}
  np.testing.assert_array_equal(
    interactive(apply, case, zoom=2.0, **options), sliding_window(apply, case, **options)
  )


def test_one_window_answers_what_changes_inside_of_it():
  case = case_of(60, 50)
  case.fields["image"][:] = 0
  case.fields["image"][28:32, 20:24] = 1
  apply, asked = threshold()
  parts = []
  interactive(
    apply, case, patch=16, focus=focus((60, 50), (30, 22)), into=lambda *part: parts.append(part)
  )
  assert len(asked) == len(parts) == 1
  region, scores = parts[0]
  assert region == (slice(22, 38), slice(14, 30))
  made = scores.argmax(-1) == 1
  np.testing.assert_array_equal(made, case.image[region][..., 0] == 1)


def test_at_the_edge_the_window_stays_inside_and_a_small_case_is_padded():
  apply, asked = threshold()
  case = case_of(40, 10)
  parts = []
  interactive(
    apply, case, patch=16, zoom=1.0, focus=focus((40, 10), (39, 0)), into=lambda *p: parts.append(p)
  )
  assert parts[0][0] == (slice(24, 40), slice(0, 10))
  seen = asked[0]["image"][0]
  np.testing.assert_array_equal(seen[:, 3:13], case.image[24:40])
  assert not seen[:, :3].any()
  assert parts[0][1].shape == (16, 10, 2)


def test_what_is_larger_than_the_window_is_seen_from_farther_and_then_anew():
  case = case_of(100, 100)
  case.fields["image"][:] = 0
  case.fields["image"][20:70, 25:75] = 1
  apply, asked = threshold()
  scores = interactive(apply, case, patch=16, focus=focus((100, 100), (45, 50)))
  made = scores.argmax(-1) == 1
  # at full resolution, to the voxel
  np.testing.assert_array_equal(made, case.image[..., 0] == 1)
  spacings = [float(batch["spacing"][0, 0]) for batch in asked]
  # 54 voxels hold the square of 50
  assert spacings[:4] == [1.0, 1.5, 2.25, 3.375]
  assert set(spacings[4:]) == {1.0}


def test_what_lies_outside_stays_to_the_bit():
  case, (apply, _) = case_of(80, 80), threshold()
  before = np.random.default_rng(1).normal(size=(80, 80, 2)).astype(np.float32)
  scores = interactive(
    apply, case, patch=16, zoom=1.0, focus=focus((80, 80), (40, 40), before=before)
  )
  outside = np.ones((80, 80), bool)
  outside[32:48, 32:48] = False
  np.testing.assert_array_equal(scores[outside], before[outside])
  assert (scores[~outside] != before[~outside]).any()


def test_prompts_are_asked_for_the_window_that_is_shown_with_the_logits_before():
  asked_for = []

  def prompts(window, fields, previous):
    asked_for.append((window, fields["image"].shape, previous))
    return {"clicks": np.ones((*window.patch, 2), np.float32)}

  case, (apply, asked) = case_of(50, 50), threshold()
  of = focus((50, 50), (10, 10), prompts=prompts)
  interactive(apply, case, patch=16, zoom=1.0, focus=of)
  window, shape, previous = asked_for[0]
  assert window == Window((2, 2), (16, 16), (16, 16))
  assert shape == (16, 16, 1)
  np.testing.assert_array_equal(previous, of.before[2:18, 2:18])
  assert asked[0]["clicks"].shape == (1, 16, 16, 2)
  interactive(apply, case, patch=16, zoom=1.0, focus=of._replace(fresh=True))
  assert asked_for[1][2] is None


def test_positions_go_into_a_window_that_is_zoomed_out():
  window = Window((10, -4), (32, 32), (16, 16))
  np.testing.assert_allclose(
    window.inside(np.array([[10, -4], [41, 27], [10.5, -3.5]])),
    [[-0.25, -0.25], [15.25, 15.25], [0, 0]],
  )


def test_a_2d_network_answers_every_slice_that_is_marked():
  case = case_of(5, 20, 24)
  apply, asked = threshold()
  parts = []
  interactive(
    apply,
    case,
    patch=(16, 16),
    axis=0,
    zoom=1.0,
    focus=focus((5, 20, 24), (1, 10, 10), (3, 12, 10), prompts=lambda w, f, p: {}),
    into=lambda *part: parts.append(part),
  )
  assert [region[0] for region, _ in parts] == [slice(1, 2), slice(2, 3), slice(3, 4)]
  assert asked[0]["image"].shape == (1, 16, 16, 1)
  assert asked[0]["spacing"].shape == (1, 2)
  assert parts[0][1].shape == (1, 16, 16, 2)


def test_slices_between_two_marks_stay_as_they_were():
  case, (apply, _) = case_of(9, 20, 20), threshold()
  marks = ((7, 3, 4), (7, 3, 4)), ((1, 10, 5), (2, 12, 5))
  parts = []
  interactive(
    apply,
    case,
    patch=(16, 16),
    zoom=1.0,
    focus=focus((9, 20, 20), (0, 0, 0))._replace(marks=marks),
    into=lambda *part: parts.append(part),
  )
  assert [region[0].start for region, _ in parts] == [1, 2, 7]
  # a window lies around the marks of its own slice
  assert parts[0][0][1:] == (slice(3, 19), slice(0, 16))
  assert parts[2][0][1:] == (slice(0, 16), slice(0, 16))


@pytest.mark.parametrize(
  ("options", "words"),
  [({"zoom": 0.5}, "expected 1 or more"), ({"margin": 2}, "valid convolutions")],
)
def test_what_it_cannot_do_is_refused(options, words):
  apply, _ = threshold()
  with pytest.raises(ValueError, match=words):
    interactive(apply, case_of(20, 20), patch=16, focus=focus((20, 20), (3, 3)), **options)
