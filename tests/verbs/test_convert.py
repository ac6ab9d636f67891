"""convert: what it writes of labels is what the reader of nnU-Net's raw format takes."""

import numpy as np
import pytest

from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase, Source, nnunet_raw
from jaxseg.data.geometry import plain_geometry
from jaxseg.verbs.convert import convert

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
