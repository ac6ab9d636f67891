"""Largest components beside hand-drawn maps; learning on cases whose Dice is counted by hand."""

import numpy as np
import pytest
from scipy import ndimage

from jaxseg.batch import LabelSpec
from jaxseg.inference import postprocessing
from jaxseg.inference.postprocessing import Step, Validated, apply_steps, largest_component, learn

LABELS = LabelSpec(("background", "liver", "lesion"), (0, 1, 4))
REGIONS = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)))


def grid(*rows):
  return np.array([[int(c) for c in row] for row in rows])


def cases(*pairs):
  return {f"case_{i}": (lambda pair=pair: Validated(*pair)) for i, pair in enumerate(pairs)}


def test_the_largest_component_touches_by_corners():
  mask = grid("1000011", "0100010", "0010000", "0000000") > 0
  kept = grid("1000011", "0100010", "0010000", "0000000") > 0
  kept[:3, :3] = True & mask[:3, :3]
  # three by corners against three by faces: both stay
  np.testing.assert_array_equal(largest_component(mask), kept)
  mask[1, 6] = True
  np.testing.assert_array_equal(largest_component(mask), mask & (np.arange(7) > 3))


def test_an_empty_mask_stays_empty():
  assert not largest_component(np.zeros((3, 4, 5), bool)).any()


@pytest.mark.parametrize("seed", range(3))
def test_random_masks_beside_a_flood_fill(seed):
  mask = np.random.default_rng(seed).random((7, 8, 9)) < 0.12
  left, parts = {tuple(v) for v in np.argwhere(mask)}, []
  while left:
    edge, part = [left.pop()], set()
    while edge:
      voxel = edge.pop()
      part.add(voxel)
      near = {v for v in left if max(abs(a - b) for a, b in zip(v, voxel, strict=True)) == 1}
      left -= near
      edge += near
    parts.append(part)
  most = max(map(len, parts))
  truth = np.zeros_like(mask)
  for part in parts:
    if len(part) == most:
      truth[tuple(np.transpose(list(part)))] = True
  np.testing.assert_array_equal(largest_component(mask), truth)
  assert ndimage.label(mask, np.ones((3, 3, 3)))[1] == len(parts)


def test_steps_put_background_where_they_remove():
  label = grid("1104", "1000", "0040")
  label[0, 3] = 4
  spec = LabelSpec(("nothing", "liver", "lesion"), (9, 1, 4))
  steps = (Step("liver", (1,)), Step("foreground", (1, 4)))
  cleaned = apply_steps(np.where(label == 0, 9, label), steps, spec)
  np.testing.assert_array_equal(cleaned, np.where(grid("1100", "1000", "0000") == 0, 9, 1))


def test_a_stray_island_of_foreground_is_learned_away():
  truth = grid("1100000", "1400000", "0000000")
  predicted = grid("1100001", "1400000", "0000000")
  learned = learn(cases((predicted, truth), (truth, truth)), LABELS)
  assert learned.steps == (Step("foreground", (1, 4)),)
  first = learned.evidence[0]
  # liver: 3 found of 3, one too many -> 6 / 7 in one case, 1 in the other
  assert first["before"] == pytest.approx({"liver": (6 / 7 + 1) / 2, "lesion": 1.0})
  assert first["after"] == {"liver": 1.0, "lesion": 1.0}
  np.testing.assert_array_equal(apply_steps(predicted, learned.steps, LABELS), truth)


def test_a_class_that_falls_forbids_the_foreground_step_but_not_the_other_classes():
  # the true lesion lies apart: as one foreground it would go, though the liver would gain more
  truth = grid("1100000", "1100040", "0000000")
  predicted = grid("1100000", "1100040", "0001000")
  predicted[2, 3], predicted[0, 4] = 0, 1
  learned = learn(cases((predicted, truth)), LABELS)
  assert [note["kept"] for note in learned.evidence] == [False, True, False]
  assert learned.steps == (Step("liver", (1,)),)
  liver = learned.evidence[1]
  assert (liver["before"], liver["after"]) == pytest.approx((8 / 9, 1.0))


def test_what_changes_nothing_is_not_kept():
  truth = grid("1100", "1400")
  assert learn(cases((truth, truth)), LABELS).steps == ()


def test_cases_without_a_class_do_not_count_for_it():
  truth = grid("1100", "0000")
  learned = learn(cases((grid("1101", "0000"), truth)), LABELS)
  assert learned.steps == (Step("foreground", (1, 4)),)
  assert np.isnan(learned.evidence[0]["before"]["lesion"])


def test_a_single_class_is_tried_once():
  spec = LabelSpec(("background", "spleen"), (0, 1))
  learned = learn(cases((grid("1101", "0000"), grid("1100", "0000"))), spec)
  assert [note["name"] for note in learned.evidence] == ["foreground"]


def test_nested_regions_are_tried_one_on_top_of_the_other():
  # the stray core's voxels belong to the whole, too: the first step already removes them
  truth = grid("1110000", "1210000", "1110000")
  predicted = grid("1110002", "1210000", "1110000")
  learned = learn(cases((predicted, truth)), REGIONS)
  assert learned.steps == (Step("foreground", (1, 2)),)
  whole = learned.evidence[0]
  assert whole["before"] == pytest.approx({"whole": 18 / 19, "core": 2 / 3})
  assert whole["after"] == {"whole": 1.0, "core": 1.0}
  assert [note["name"] for note in learned.evidence] == ["foreground", "whole", "core"]


def test_ignored_voxels_and_weights_do_not_count():
  spec = LabelSpec(("background", "liver"), (0, 1), ignore=255)
  truth, predicted = grid("1100", "0000"), grid("1101", "0000")
  hidden = np.where(predicted != truth, 255, truth)
  assert learn(cases((predicted, hidden)), spec).steps == ()
  weight = (predicted == truth).astype(np.float32)
  assert learn(cases((predicted, truth, weight)), spec).steps == ()


def test_steps_survive_the_file(tmp_path):
  learned = learn(cases((grid("1101", "0000"), grid("1100", "0000"))), LABELS)
  postprocessing.write(tmp_path / "postprocessing.json", learned)
  assert postprocessing.read(tmp_path / "postprocessing.json") == learned.steps


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("{", "is damaged or no JSON"),
    ("[]", "holds a list, expected an object"),
    ('{"version": 1}', "lacks 'keep_largest_component'"),
    ('{"version": 7, "keep_largest_component": []}', "is of version 7, this jaxseg reads 1"),
    ('{"version": 1, "keep_largest_component": [3]}', "step 1: holds a number"),
    ('{"version": 1, "keep_largest_component": [{"name": "a"}]}', "step 1: lacks 'values'"),
    (
      '{"version": 1, "keep_largest_component": [{"name": "a", "values": ["1"]}]}',
      "step 1: 'values' holds '1', expected whole numbers",
    ),
  ],
)
def test_a_file_that_holds_no_steps_is_told(tmp_path, text, words):
  (tmp_path / "p.json").write_text(text)
  with pytest.raises(ValueError, match=r"p.json: .*--no-postprocessing") as told:
    postprocessing.read(tmp_path / "p.json")
  assert words in str(told.value)


def test_a_file_that_is_missing_is_told(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"p.json: not found, .*find-best"):
    postprocessing.read(tmp_path / "p.json")
