"""What a method gives its networks, by shapes: the image, and what comes beside it."""

import searched

from jaxseg import defaults
from jaxseg.build import plain
from jaxseg.compose import complete, networks_by_role
from jaxseg.planning import network_inputs


def shapes(folder, **changes):
  config = complete(plain(searched.config(folder)) | {"search": {}, **changes})
  nets = networks_by_role(config, 3)
  return network_inputs.shapes(config, nets, (2, 16, 16, 1), 3)


def test_the_image_alone_where_a_method_gives_no_more(tmp_path):
  assert shapes(tmp_path) == {"network": [(2, 16, 16, 1)]}


def test_a_cascades_second_stage_sees_a_map_of_each_class(tmp_path):
  config = searched.config(tmp_path)
  config.data.prior = dict(run="runs/first")
  assert shapes(tmp_path, data=plain(config.data)) == {"network": [(2, 16, 16, 1 + 3)]}


def test_marks_of_a_user_are_channels(tmp_path):
  given = shapes(tmp_path, method=dict(name="deepedit", clicks=2))
  assert given["network"][0][-1] > 1


def test_a_stream_has_its_own_batch():
  config = plain(defaults.config())
  config["data"]["batch"] = 4
  config["streams"] = {"unlabelled": {"cases": "unlabelled", "batch": 10}, "target": {}}
  batch = network_inputs.batch(config, (2, 8, 8, 1), 3)
  assert batch["unlabelled"]["image"].shape == (5, 8, 8, 1)
  assert "label" not in batch["unlabelled"]
  assert batch["target"]["label"].shape == (2, 8, 8)
