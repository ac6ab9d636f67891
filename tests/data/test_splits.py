"""Splits equal scikit-learn's, keep groups together, and refuse nonsense."""

import json

import pytest

from jaxseg.data.splits import SPLITS, apart, blocks, explicit, from_file, kfold, lists, share


def cases(n):
  return [f"case_{i:03d}" for i in range(n)]


# sklearn.model_selection.KFold(folds, shuffle=True, random_state=seed), validation indices
SKLEARN = {
  (7, 3, 12345): [[3, 4, 6], [0, 1], [2, 5]],
  (23, 5, 12345): [
    [3, 8, 10, 17, 19],
    [0, 7, 12, 15, 16],
    [6, 11, 14, 18, 20],
    [9, 13, 21, 22],
    [1, 2, 4, 5],
  ],
  (11, 4, 7): [[0, 5, 8], [1, 2, 10], [3, 6, 7], [4, 9]],
}


@pytest.mark.parametrize(("n", "folds", "seed"), SKLEARN)
def test_kfold_equals_scikit_learn(n, folds, seed):
  names = cases(n)
  for fold, held in enumerate(SKLEARN[n, folds, seed]):
    train, validation = kfold(names[::-1], fold=fold, folds=folds, seed=seed)
    assert validation == tuple(names[i] for i in held)
    assert train == tuple(name for name in names if name not in validation)


def test_groups_are_never_divided():
  names = [f"patient{p:03d}_frame{f:02d}" for p in range(9) for f in (1, 2)]
  seen = []
  for fold in range(3):
    train, validation = kfold(names, fold=fold, folds=3, group=r"(patient\d+)")
    assert not {n[:10] for n in train} & {n[:10] for n in validation}
    assert len(train) + len(validation) == 18
    seen += validation
  assert sorted(seen) == sorted(names)


def test_grouped_folds_are_those_of_the_groups():
  names = [f"p{p}_{f}" for p in range(7) for f in "ab"]
  _, validation = kfold(names, fold=0, folds=3, group=r"(p\d)")
  assert {n[:2] for n in validation} == {"p3", "p4", "p6"}


def test_group_must_match_every_case():
  with pytest.raises(ValueError, match=r"split\.group: .*it fails on 'case_000'"):
    kfold(cases(6), group=r"(patient\d+)")


def test_blocks_hold_out_neighbours():
  names = [str(i) for i in range(30)]
  train, validation = blocks(names, holdout=6)
  assert validation == ("24", "25", "26", "27", "28", "29")
  assert train == tuple(names[:24])
  assert blocks(names, holdout=-2)[1] == ("0", "1")
  assert blocks(names, fold=1, folds=5)[1] == tuple(names[6:12])


@pytest.mark.parametrize("split", [kfold, blocks])
def test_fold_out_of_range_is_told(split):
  with pytest.raises(ValueError, match=r"split\.fold: 5 is out of range; expected 0 to 4"):
    split(cases(10), fold=5)
  with pytest.raises(ValueError, match=r"split\.folds: 5 folds of 3 cases; expected 2 to 3"):
    split(cases(3))


def test_holdout_of_everything_is_told():
  with pytest.raises(ValueError, match=r"split\.holdout: 4 of 4 cases; expected 1 to 3"):
    blocks(cases(4), holdout=4)


def test_file_has_nnunets_format(tmp_path):
  path = tmp_path / "splits_final.json"
  path.write_text(json.dumps([{"train": ["case_000"], "val": ["case_001", "case_002"]}]))
  assert from_file(cases(3), path=path) == (("case_000",), ("case_001", "case_002"))
  with pytest.raises(ValueError, match=r"1 is out of range; .* holds 1 folds"):
    from_file(cases(3), path=path, fold=1)
  with pytest.raises(ValueError, match=r"names case 'case_002' \(and 0 more\), which the data set"):
    from_file(cases(2), path=path)
  with pytest.raises(FileNotFoundError, match=r"gone.json: not found"):
    from_file(cases(2), path=tmp_path / "gone.json")
  for text, words in (
    ('{"train": []}', "splits_final.json: holds an object, expected a list"),
    ('["a"]', "splits_final.json: fold 0: holds a text, expected an object"),
    ('[{"train": ["a"]}]', "fold 0: lacks 'val'"),
    ('[{"train": "a", "val": []}]', "fold 0: 'train' is a text, expected a list"),
    ('[{"train": ["a"], "val": [3]}]', "fold 0: 'val' holds 3, expected names"),
    ("[", "splits_final.json: is damaged or no JSON"),
  ):
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
      from_file(cases(2), path=path)


def test_explicit_gives_the_rest_to_training():
  assert explicit(cases(3), validation=["case_001"]) == (("case_000", "case_002"), ("case_001",))
  with pytest.raises(ValueError, match="'case_001' is on both sides"):
    explicit(cases(3), validation=["case_001"], train=["case_001"])
  with pytest.raises(ValueError, match="no case is left for training"):
    explicit(cases(2), validation=cases(2))
  with pytest.raises(ValueError, match="no case is left for validation"):
    explicit(cases(2), validation=[])


def test_table_lists_all_splits():
  assert set(SPLITS) == {"kfold", "blocks", "file", "lists", "explicit"}


def test_lists_name_the_cases_of_both_sides_line_by_line(tmp_path):
  train, validation = tmp_path / "train.list", tmp_path / "val.list"
  train.write_text("case_003\ncase_000 \n\n")
  validation.write_text("case_002")
  sides = {"train_list": str(train), "validation_list": str(validation)}
  assert lists(cases(5), **sides) == (("case_000", "case_003"), ("case_002",))
  for text, words in (
    ("case_003\ncase_009\n", r"train_list: .*train\.list: names case 'case_009' \(and 0 more\)"),
    ("case_003\ncase_003\n", "names case 'case_003' twice"),
    ("case_002\n", "'case_002' is on both sides"),
    ("\n", "no case is left for training"),
  ):
    train.write_text(text)
    with pytest.raises(ValueError, match=words):
      lists(cases(5), **sides)
  train.unlink()
  with pytest.raises(FileNotFoundError, match=r"train\.list.*the list of cases.*train_list"):
    lists(cases(5), **sides)


def test_a_group_is_on_one_side(tmp_path):
  names = ("p1_a", "p1_b", "p2_a", "p2_b")
  (tmp_path / "train").write_text("p1_a\np2_a\n")
  (tmp_path / "val").write_text("p1_b\n")
  (tmp_path / "splits.json").write_text('[{"train": ["p1_a", "p2_a"], "val": ["p1_b"]}]')
  options = {"train_list": str(tmp_path / "train"), "validation_list": str(tmp_path / "val")}
  for split, of in (
    (lists, options),
    (explicit, {"validation": ("p1_b",)}),
    (from_file, {"path": str(tmp_path / "splits.json")}),
  ):
    split(names, **of)
    with pytest.raises(ValueError, match="cases of group 'p1' are on both sides"):
      split(names, group=r"(p\d)_", **of)


def test_a_file_of_other_cases_is_named(tmp_path):
  path = tmp_path / "splits.json"
  path.write_text(json.dumps([{"train": ["a"], "val": ["b"]}]))
  with pytest.raises(ValueError, match=r"fold 0 of .*splits\.json: names case 'a'"):
    from_file(cases(3), path=str(path))


def test_a_labelled_share_is_a_number_a_share_or_names():
  names = tuple(cases(20))
  labelled, rest = share(names, labelled=0.25)
  assert len(labelled) == 5
  assert sorted((*labelled, *rest)) == list(names)
  assert share(names, labelled=5) == (labelled, rest)
  assert set(share(names, labelled=3)[0]) < set(labelled)
  assert share(names, labelled=5, labelled_seed=1)[0] != labelled
  assert share(names, labelled=1.0) == share(names, labelled=20) == (names, ())
  assert share(names, labelled=("case_003", "case_001"))[0] == ("case_001", "case_003")


def test_the_labelled_share_of_a_draw_is_numpys_permutation():
  import numpy as np

  order = np.random.RandomState(3).permutation(6)[:2]
  assert set(share(cases(6), labelled=2, labelled_seed=3)[0]) == {f"case_{i:03d}" for i in order}


def test_a_labelled_share_keeps_groups_together():
  names = [f"p{p}_{f}" for p in range(6) for f in "abc"]
  labelled, rest = share(names, labelled=2, group=r"(p\d)")
  assert len(labelled) == 6
  assert not {n[:2] for n in labelled} & {n[:2] for n in rest}
  assert share(names, labelled=("p4", "p1"), group=r"(p\d)")[0] == tuple(
    n for n in names if n[:2] in ("p1", "p4")
  )
  with pytest.raises(ValueError, match=r"labelled: .*names some cases of group 'p1'"):
    share(names, labelled=("p1_a",), group=r"(p\d)")


@pytest.mark.parametrize(
  ("labelled", "words"),
  [
    (0.0001, "0.0001 of 6 training cases is 0; expected 1 to 6"),
    (7, "7 of 6 training cases is 7; expected 1 to 6"),
    (-1, "expected 1 to 6"),
    (0.01, "0.01 of 6 training cases is 0; expected 1 to 6"),
    (1.5, "expected 1 to 6"),
    (True, "expected a share"),
    ((), "names none of the 6 training cases"),
    (("case_009",), "'case_009' is none of the 6 training cases"),
  ],
)
def test_a_labelled_share_that_cannot_be_is_told(labelled, words):
  with pytest.raises(ValueError, match=rf"config.data.split.labelled: .*{words}"):
    share(cases(6), labelled=labelled)


def test_cases_without_labels_of_a_patient_that_validates_are_left_out():
  bare, validation = ["a_3", "b_2", "b_10", "c_1", "other"], ["b_1"]
  assert apart(bare, validation, group=r"(\w)_\d+") == ("a_3", "c_1", "other")
  assert apart(bare, validation, group=None) == tuple(bare)
