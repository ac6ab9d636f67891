"""convert: what it writes of labels is what the reader of nnU-Net's raw format takes."""

import json
import pathlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase, Source, nnunet_raw, paired_folder, tfds
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.sources.phantom import phantom
from jaxseg.verbs.convert import convert, main

NESTED = LabelSpec(
  ("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)), ignore=3, mirror_pairs=((0, 1),)
)


@pytest.mark.parametrize(
  "labels",
  [
    LabelSpec(("background", "left", "right"), (0, 1, 2), mirror_pairs=((1, 2),)),
    LabelSpec(("background", "a", "b"), (0, 5, 9), ignore=255),
    NESTED,
    LabelSpec(("whole", "core"), (0, 1, 2), regions=((2, 1), (1,))),
  ],
  ids=["pairs", "ignore", "regions and ignore", "regions"],
)
def test_the_labels_survive_the_folder(labels, tmp_path):
  values = [v for v in (*labels.stored_values, labels.ignore) if v is not None]
  stored = np.resize(values, (3, 4, 5))
  raw = RawCase(np.zeros((3, 4, 5, 2), np.float32), stored, None, plain_geometry((3, 4, 5)))
  source = Source("it", ("a",), ("t1", "t2"), labels, 3, lambda name: raw, "")
  convert(source, ("a",), tmp_path)
  back = nnunet_raw(str(tmp_path))
  assert back.labels == labels
  assert back.channels == ("t1", "t2")
  np.testing.assert_array_equal(back.read("a").label, stored)


def source_of(labels, weight, stored, image=None):
  image = np.zeros((*stored.shape, 1), np.float32) if image is None else image
  raw = RawCase(image, stored, weight, plain_geometry(stored.shape))
  return Source("it", ("a",), ("red",), labels, stored.ndim, lambda name: raw, "")


def test_values_with_gaps_which_nnunet_refuses_are_told(tmp_path, capsys):
  for values, words in (((0, 5, 9), "values 0, 5, 9; nnU-Net itself"), ((0, 1, 2), "")):
    labels = LabelSpec(("background", "a", "b"), values)
    stored = np.resize(values, (3, 4, 5))
    convert(source_of(labels, None, stored), ("a",), tmp_path / str(values[1]))
    err = capsys.readouterr().err
    assert words in err
    assert ("nnU-Net" in err) == bool(words)


def test_a_field_of_view_becomes_the_ignore_label(tmp_path):
  mask = np.zeros((6, 8), np.uint8)
  mask[:, 4:], view = 255, np.full((6, 8), 255, np.uint8)
  view[0] = 0
  for part, array in (("images", mask), ("masks", mask), ("views", view)):
    (tmp_path / part).mkdir()
    Image.fromarray(array).save(tmp_path / part / "a.png")
  folders = {name: str(tmp_path / name) for name in ("images", "masks")}
  source = paired_folder(**folders, weights=str(tmp_path / "views"), values=(0, 255))
  convert(source, ("a",), tmp_path / "out")
  told = json.loads((tmp_path / "out/dataset.json").read_text())["labels"]
  assert told == {"background": 0, "foreground": 255, "ignore": 256}
  stored = np.asarray(nib.load(tmp_path / "out/labelsTr/a.nii.gz").dataobj).T
  np.testing.assert_array_equal(stored, np.where(view == 0, 256, mask.astype(int)))
  back = nnunet_raw(str(tmp_path / "out"))
  _, weight = back.labels.encode(back.read("a").label)
  np.testing.assert_array_equal(weight, view / 255)


def test_ignored_voxels_get_the_number_of_labels_or_the_ignore_value_of_the_set(tmp_path):
  stored = np.resize([0, 1, 2], (3, 4, 5))
  weight = (stored != 1).astype(np.float32)
  for ignore, value in ((None, 3), (7, 7)):
    labels = LabelSpec(("background", "a", "b"), (0, 1, 2), ignore=ignore)
    convert(source_of(labels, weight, stored), ("a",), tmp_path / str(ignore))
    back = nnunet_raw(str(tmp_path / str(ignore)))
    assert back.labels.ignore == value
    np.testing.assert_array_equal(back.read("a").label, np.where(stored == 1, value, stored))


def test_weights_that_cannot_be_written_are_told(tmp_path, capsys):
  weight = np.ones((4, 5), np.float32)
  weight[0, 0], weight[0, 1] = 0.5, 0
  labels = LabelSpec(("background", "a"), (0, 1))
  convert(source_of(labels, weight, np.zeros((4, 5), np.uint8)), ("a",), tmp_path)
  assert "case 'a' has 1 voxel(s) of weights like 0.5" in capsys.readouterr().err
  np.testing.assert_array_equal(nnunet_raw(str(tmp_path)).read("a").label, (weight == 0) * 2)


def test_colours_keep_the_type_that_scales_them(tmp_path):
  image = np.arange(20, dtype=np.uint16).reshape(4, 5, 1) * 3000
  labels = LabelSpec(("background", "a"), (0, 1))
  convert(source_of(labels, None, np.zeros((4, 5), np.uint8), image), ("a",), tmp_path)
  assert nib.load(tmp_path / "imagesTr/a_0000.nii.gz").get_data_dtype() == np.uint16


def test_the_verb_writes_a_set_of_tfds_with_both_parts(tmp_path, capsys):
  config = str(pathlib.Path(__file__).parents[2] / "configs/unet_phantom2d.py")
  small = ["--config.data.source.cases=5", "--config.data.source.size=(16, 16)"]
  arguments = [f"--config={config}", *small, f"--output={tmp_path}", "--format=tfds"]
  main([*arguments, "--cases=all"])
  assert f"5 case(s) written to {tmp_path}/phantom2d/1.0.0" in capsys.readouterr().out
  validation = tfds("phantom2d", data_dir=str(tmp_path), split="validation")
  assert len(validation.cases) == 1
  back = tfds("phantom2d", data_dir=str(tmp_path), split="all")
  source = phantom(cases=5, size=(16, 16))
  assert back.cases == source.cases
  for name in source.cases:
    np.testing.assert_array_equal(back.read(name).image, source.read(name).image)
  with pytest.raises(SystemExit, match=r"convert: .*phantom2d/1.0.0: is there already"):
    main(arguments)


def test_files_of_another_set_or_of_the_one_that_is_read_are_not_overwritten(tmp_path):
  config = str(pathlib.Path(__file__).parents[2] / "configs/unet_phantom2d.py")
  small = [f"--config={config}", "--config.data.source.cases=5"]
  small.append("--config.data.source.size=(16, 16)")
  main([*small, f"--output={tmp_path / 'set'}", "--cases=all"])

  def content():
    return {f: f.read_bytes() for f in (tmp_path / "set").rglob("*") if f.is_file()}

  before = content()
  main([*small, f"--output={tmp_path / 'set'}", "--cases=all"])  # the same once more
  assert content() == before
  with pytest.raises(SystemExit, match="holds files of other cases"):
    main([*small, f"--output={tmp_path / 'set'}"])
  source = f"dict(name='nnunet_raw', path={str(tmp_path / 'set')!r})"
  own = [f"--config={config}", f"--config.data.source={source}"]
  with pytest.raises(SystemExit, match="holds the data set that is read"):
    main([*own, f"--output={tmp_path / 'set'}", "--cases=all"])
  assert content() == before
