"""Choosing configurations and pairs: folders written by hand, Dice counted by hand."""

import numpy as np
import pytest

from jaxseg.batch import LabelSpec
from jaxseg.data import write_label
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.sources.source import RawCase
from jaxseg.evaluation import choice as selection

LABELS = LabelSpec(("background", "a"), (0, 3))
GRID = plain_geometry((1, 2, 4))
TRUTH = np.array([[[3, 3, 3, 3], [0, 0, 0, 0]]])
NAMES = ("case_0", "case_1")


def reference(name):
  assert name in NAMES
  return RawCase(np.zeros((1, 2, 4, 1)), TRUTH, None, GRID)


def configuration(home, share, *, probabilities=True):
  """Two folds of one case each; `share` is the probability of class a."""
  share = np.array(share, np.float32).reshape(1, 2, 4)
  folds = []
  for i, name in enumerate(NAMES):
    folds.append(home / f"fold_{i}")
    folder = folds[-1] / "validation"
    write_label(folder / f"{name}.nii.gz", np.where(share > 0.5, 3, 0), GRID)
    (folder / "views").mkdir()
    (folder / "views" / "other.png").write_text("")
    if probabilities:
      both = np.stack([1 - share, share], -1)
      np.savez_compressed(folder / f"{name}_probabilities.npz", probabilities=both)
  return selection.validation_files(folds)


# each misses what the other finds with more certainty: Dice 4 / 6, 6 / 7, and 1 for both together
FIRST = [0.9, 0.9, 0.2, 0.4, 0.1, 0.1, 0.1, 0.1]
SECOND = [0.6, 0.2, 0.9, 0.7, 0.1, 0.1, 0.1, 0.1]


@pytest.fixture
def written(tmp_path):
  return {
    tmp_path / "first": configuration(tmp_path / "first", FIRST),
    tmp_path / "second": configuration(tmp_path / "second", SECOND),
  }


def test_a_pair_averages_probabilities_and_may_win(written):
  ranked = selection.candidates(written, reference, LABELS)
  names = [[folder.name for folder in one.members] for one in ranked]
  assert names == [["first", "second"], ["second"], ["first"]]
  assert [one.dice for one in ranked] == pytest.approx([1.0, 6 / 7, 4 / 6])
  assert ranked[0].classes == {"a": 1.0}


def test_single_configurations_need_no_probabilities(tmp_path):
  files = configuration(tmp_path, FIRST, probabilities=False)
  ranked = selection.candidates({tmp_path: files}, reference, LABELS)
  assert [one.dice for one in ranked] == pytest.approx([4 / 6])


def test_of_equals_a_single_configuration_comes_first(tmp_path):
  written = {tmp_path / n: configuration(tmp_path / n, FIRST) for n in ("a", "b")}
  ranked = selection.candidates(written, reference, LABELS)
  assert [len(one.members) for one in ranked] == [1, 1, 2]


def test_pairs_without_probabilities_are_told(tmp_path, written):
  third = tmp_path / "third"
  written[third] = configuration(third, SECOND, probabilities=False)
  with pytest.raises(FileNotFoundError, match=r"case_0_probabilities.npz: not found.*--no-pairs"):
    selection.candidates(written, reference, LABELS)
  assert len(selection.candidates(written, reference, LABELS, pairs=False)) == 3


def test_configurations_over_other_cases_are_refused(written):
  files = next(iter(written.values()))
  del files["case_1"]
  with pytest.raises(ValueError, match=r"case 'case_1' \(and 0 more\) was validated here or in"):
    selection.candidates(written, reference, LABELS)


def test_a_fold_without_segmentations_and_a_case_in_two_folds_are_told(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"validation: holds no segmentation"):
    selection.validation_files([tmp_path])
  configuration(tmp_path, FIRST)
  with pytest.raises(ValueError, match="case 'case_0' was validated by fold_0, too"):
    selection.validation_files([tmp_path / "fold_0", tmp_path / "fold_0"])


def test_a_label_on_another_grid_is_told(written):
  def changed(name):
    return reference(name)._replace(label=TRUTH[:, :1])

  with pytest.raises(ValueError, match=r"its grid \(1, 2, 4\) is not that of the label"):
    selection.candidates(written, changed, LABELS)


def test_damaged_probabilities_are_told(tmp_path):
  files = configuration(tmp_path, FIRST)
  (tmp_path / "fold_0" / "validation" / "case_0_probabilities.npz").write_text("x")
  with pytest.raises(ValueError, match="holds no readable 'probabilities'"):
    selection.probabilities_of(files["case_0"])
