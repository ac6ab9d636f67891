"""What a config feeds its method: streams whose images one network cannot see are refused."""

import pytest

from jaxseg.config import needs
from jaxseg.data import SOURCES
from jaxseg.data.stream import MAIN


def checked(method, stream, theirs, ours):
  sources = {
    MAIN: SOURCES["phantom"](cases=1)._replace(channels=ours),
    stream: SOURCES["phantom"](cases=1, size=(8, 32, 32), seed=1)._replace(channels=theirs),
  }
  schemes = {
    name: [{"name": "minmax", "signed": True}] * len(of.channels) for name, of in sources.items()
  }
  needs.check_other_domains({"method": {"name": method}}, sources, schemes)


def test_images_of_a_stream_have_as_many_channels_as_those_that_they_share_a_batch_with():
  words = r"config.streams.unlabelled.source: .* have 2 channel\(s\), those of .* 1; .*mean_teacher"
  with pytest.raises(ValueError, match=words):
    checked("mean_teacher", "unlabelled", ("t1", "t2"), ("t1",))
  # volumes may be fed by slices
  checked("mean_teacher", "unlabelled", ("t1",), ("t1",))
  with pytest.raises(ValueError, match=r"config.streams.target.source: .* 3 spatial axes, .* 2;"):
    checked("cyclegan", "target", ("t1",), ("t1",))


@pytest.mark.parametrize("method", ["unpaired", "supervised"])
def test_the_same_channels_in_another_order_are_refused(method):
  words = "config.streams.more.source: the channels of .* are t1, t2, those of .* t2, t1, and"
  with pytest.raises(ValueError, match=words):
    checked(method, "more", ("t1", "t2"), ("t2", "t1"))
  # names that differ may mean the same, as those of two scanners
  checked(method, "more", ("t1", "t2"), ("a", "b"))


@pytest.mark.parametrize(
  ("method", "task", "words"),
  [
    ("mask_gan", "segmentation", "config.task: 'segmentation', but .*'mask_gan' is of 'masks'"),
    ("mask_vae", "synthesis", "config.task: 'synthesis', but the method 'mask_vae' is of 'masks'"),
    ("supervised", "masks", "'supervised' makes no label maps of noise.*: mask_gan, mask_vae."),
    ("supervised", "translation", "makes no images of another domain.*methods that do: cyclegan."),
  ],
)
def test_what_makes_label_maps_is_of_their_task_and_of_no_other(method, task, words):
  config = {"method": {"name": method}, "task": {"name": task}, "data": {"batch": 2}, "streams": {}}
  with pytest.raises(ValueError, match=words):
    needs.check_streams(config)
