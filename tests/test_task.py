"""What a network's output means, and what is refused of it before data are read."""

import numpy as np
import pytest

from jaxseg import defaults
from jaxseg.batch import LabelSpec
from jaxseg.compose import complete
from jaxseg.task import MASKS, TASKS, masks, segmentation

CLASSES = LabelSpec(("background", "a", "b"), (0, 5, 9))
REGIONS = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)))


def config(**changes):
  made = defaults.config()
  made.update_from_flattened_dict(changes)
  return made


def test_class_0_is_no_score_and_every_region_is_one():
  truth = np.array([[0, 1, 1, 2]])
  scores = segmentation(CLASSES).score(segmentation(CLASSES).metrics, truth, truth, None, (1, 1))
  assert scores == {"dice": {"a": 1.0, "b": 1.0}, "iou": {"a": 1.0, "b": 1.0}}
  of_regions = np.stack([truth > 0, truth == 2], -1)
  judged = segmentation(REGIONS, ("dice",))
  scores = judged.score(judged.metrics, of_regions, of_regions, None, (1, 1))
  assert scores == {"dice": {"whole": 1.0, "core": 1.0}}


def test_label_maps_of_noise_are_compared_by_how_large_their_classes_are():
  truth, other = np.array([[0, 1, 1, 2]]), np.array([[1, 1, 2, 0]])
  task = TASKS[MASKS](labels=CLASSES)
  assert (task.name, task.output, task.best) == (MASKS, "logits", "volume_similarity")
  scores = task.score(task.final, other, truth, None, (1, 1))
  assert scores == {"volume_similarity": {"a": 1.0, "b": 1.0}}
  assert list(masks(CLASSES, ("dice",)).final) == ["volume_similarity", "dice"]


def test_classes_are_what_encode_makes_of_the_decoded():
  scores = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
  for labels, of in ((CLASSES, scores), (REGIONS, scores[..., :2])):
    stored = labels.decode(of)
    by_class = labels.decode(lambda k, of=of: of[..., k])
    np.testing.assert_array_equal(stored, by_class)
    assert set(np.unique(stored)) <= {0, 5, 9} if labels is CLASSES else {0, 1, 2}
  np.testing.assert_array_equal(
    CLASSES.encode(CLASSES.decode(scores))[0], segmentation(CLASSES).decode(scores)
  )
  # later regions lie on top, of the stored values as of the indices
  regions = segmentation(REGIONS).decode(scores[..., :2])
  np.testing.assert_array_equal(REGIONS.index(regions), REGIONS.decode(scores[..., :2]))


def test_metrics_while_training_and_the_best_are_chosen_by_name():
  task = segmentation(CLASSES, ("hd95", "sensitivity"), "sensitivity")
  assert list(task.metrics) == ["hd95", "sensitivity"]
  assert task.best == "sensitivity"
  assert list(task.final) == ["dice", "iou", "hd95", "sensitivity"]
  assert segmentation(CLASSES).best == "dice"


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"evaluate.metrics": ("dise",)}, r"config.evaluate.metrics: 'dise' .*did you mean 'dice'"),
    ({"evaluate.metrics": "dice"}, "config.evaluate.metrics"),
    ({"evaluate.metrics": ("dice", "auc")}, "'auc' needs probabilities"),
    ({"evaluate.best": "hd59"}, r"config.evaluate.best: 'hd59' .*did you mean 'hd95'"),
    ({"evaluate.best": "hd95"}, r"'hd95' is not evaluated.* add it to config.evaluate.metrics"),
    ({"task.name": "segmentatoin"}, r"config.task.name: .*did you mean 'segmentation'"),
    ({"task": {"labels": 3}}, "config.task"),
  ],
  ids=["unknown", "word", "probabilities", "best", "not evaluated", "task", "no name"],
)
def test_what_a_task_does_not_know_is_refused_before_data_are_read(changes, words):
  with pytest.raises(ValueError, match=words):
    complete(config(**changes))
