"""Which losses are means over samples."""

import functools

import pytest

from jaxseg import losses
from jaxseg.losses.batch_dependence import depends_on_batch

FOR_EACH_SAMPLE = ["cross_entropy", "dice", "focal", "tversky", "boundary", "total_variation"]
OF_A_BATCH = {
  "dice": dict(batch=True),
  "tversky": dict(batch=True),
  "cross_entropy": dict(class_weights=(1.0, 2.0, 5.0)),
}


@pytest.mark.parametrize("name", FOR_EACH_SAMPLE)
def test_means_over_samples_do_not_depend_on_the_batch(name):
  assert not depends_on_batch(losses.LOSSES[name], channels=3)


@pytest.mark.parametrize("name", OF_A_BATCH)
def test_what_sums_over_the_batch_first_does(name):
  loss = functools.partial(losses.LOSSES[name], **OF_A_BATCH[name])
  assert depends_on_batch(loss, channels=3)


def test_ignored_voxels_make_cross_entropy_one_of_the_batch():
  assert depends_on_batch(losses.LOSSES["cross_entropy"], channels=3, ignored=True)


def test_a_map_of_weights_is_given():
  loss = functools.partial(losses.LOSSES["cross_entropy"], weight_map="border")
  assert depends_on_batch(loss, channels=3)


def test_regions_and_images_are_tried_too():
  loss = functools.partial(losses.LOSSES["dice"], batch=True, sigmoid=True)
  assert depends_on_batch(loss, channels=2, labels="soft")
  assert not depends_on_batch(losses.IMAGE_LOSSES["l1"], channels=1, labels="image")
