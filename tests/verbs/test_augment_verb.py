import imageio.v3 as imageio
import numpy as np
import pytest

from jaxseg.verbs.augment import classes_of, main, tile

CONFIG = """
from jaxseg import defaults
def get_config():
  config = defaults.config()
  config.data.source = dict(name="phantom", cases=6, size={size})
  config.data.patch = {size}
  config.data.folder = "{folder}"
  config.augment = {augment}
  return config
"""


def written(tmp_path, augment, size=(24, 24)):
  path = tmp_path / "config.py"
  text = CONFIG.format(size=size, augment=augment, folder=tmp_path / "prepared")
  path.write_text(text, encoding="utf-8")
  return f"--config={path}"


def test_a_sheet_has_a_row_for_each_augmentation_and_a_picture_for_each_draw(tmp_path):
  given = written(tmp_path, "dict(brightness=dict(factor=(1.2, 1.2)), mixup=dict())")
  output = tmp_path / "sheet.png"
  main([given, "--preview", f"--output={output}", "--draws=2"])
  picture = imageio.imread(output)
  # 24 voxels are shown at 192: two rows with two white lines above and below, three pictures
  assert picture.shape == (2 * (192 + 4), 134 + 3 * 196, 3)
  original, drawn = picture[2:194, 134:326], picture[2:194, 330:522]
  assert not np.array_equal(original, drawn)


def test_volumes_are_shown_by_a_slice(tmp_path):
  given = written(tmp_path, "dict(mirror=dict())", (16, 20, 24))
  output = tmp_path / "sheet.png"
  main([given, "--preview", f"--output={output}", "--draws=1"])
  assert imageio.imread(output).shape == (8 * 20 + 4, 134 + 2 * (8 * 24 + 4), 3)


def test_the_border_of_a_label_is_drawn_in_its_colour_and_nothing_else():
  classes = np.zeros((200, 200), int)
  classes[50:100, 50:100] = 1
  picture = tile(np.zeros((200, 200, 1), np.float32), classes, (0.0, 1.0))
  coloured = (picture != 0).any(-1)
  assert coloured.sum() == 4 * 49
  assert not coloured[51:99, 51:99].any()


def test_every_region_is_outlined_and_of_classes_all_but_the_background():
  maps = np.zeros((1, 4, 3), np.float32)
  maps[0, 1:, 0] = maps[0, 2:, 1] = maps[0, 3:, 2] = 1.0
  np.testing.assert_array_equal(classes_of({"soft_label": maps}, "label", 0), [[0, 1, 2, 3]])
  one_hot = np.eye(3, dtype=np.float32)[[[0, 1, 2, 0]]]
  np.testing.assert_array_equal(classes_of({"soft_label": one_hot}, "label", 1), [[0, 1, 2, 0]])


def test_what_cannot_be_shown_is_told_in_words(tmp_path):
  with pytest.raises(SystemExit, match="empty; --all shows"):
    main([written(tmp_path, "dict()"), "--preview"])
  with pytest.raises(SystemExit, match="did you mean 'mirror'"):
    main([written(tmp_path, "dict(miror=dict())"), "--preview"])
