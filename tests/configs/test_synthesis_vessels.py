"""The configs of the three steps: their words, their fields, and what is refused."""

import pathlib

import pytest

from jaxseg.compose import complete
from jaxseg.config.file import load_config

CONFIG = str(pathlib.Path(__file__).parents[2] / "configs" / "synthesis_vessels.py")


@pytest.mark.parametrize("size", ["cpu", "published"])
@pytest.mark.parametrize("part", ["masks", "vae", "images", "spade", "segment"])
@pytest.mark.parametrize("name", ["drive", "chase_db1"])
def test_every_part_of_both_sets_is_complete_in_both_sizes(name, part, size):
  config = load_config(f"{CONFIG}:{part},set={name},size={size},fold=3")
  assert complete(config)["data"]["split"]["fold"] == 3
  assert config.data.split.get("group", "") == ("" if name == "drive" else r"Image_(\d+)")


def test_the_published_generator_is_pix2pixs():
  images = load_config(f"{CONFIG}:images,size=published")
  assert images.network.widths == (64, 128, 256, 512, 512, 512, 512, 512)
  assert images.loss.l1.weight == 100.0
  for optimiser in (images.optimiser, images.optimisers.critic):
    assert (optimiser.name, optimiser.learning_rate, optimiser.b1) == ("adam", 2e-4, 0.5)


def test_label_maps_of_narrow_networks_have_a_rate_of_their_own_and_critics_the_published_one():
  for size, rate in (("cpu", 5e-4), ("published", 2e-4)):
    masks = load_config(f"{CONFIG}:masks,size={size}")
    assert (masks.optimiser.learning_rate, masks.optimisers.critic.learning_rate) == (rate, 2e-4)


@pytest.mark.parametrize(("data", "batches"), [("both", (4, 4)), ("synthetic", (8, 8))])
def test_as_many_patches_of_each_kind_are_trained_on(data, batches):
  config = load_config(f"{CONFIG}:segment,data={data},masks=runs/a,images=runs/b,cases=7")
  stream = config.streams.synthetic
  assert (config.data.batch, stream["batch"]) == batches
  assert stream["joins"] == ("beside" if data == "both" else "instead")
  assert stream["source"].to_dict() == dict(
    name="synthetic", masks="runs/a", images="runs/b", cases=7
  )
  complete(config)


@pytest.mark.parametrize(
  ("words", "told"),
  [
    ("mask", "is no part of this table"),
    ("masks,set=stare", "expected one of drive, chase_db1"),
    ("masks,fold=x", "fold=x: expected a whole number"),
    ("segment,data=both", "expected both with segment"),
    ("segment,masks=a,images=b", "expected both with segment"),
    ("masks,sets=drive", "'sets=drive' is no argument"),
  ],
)
def test_words_that_mean_nothing_are_refused(words, told):
  with pytest.raises(ValueError, match=told):
    load_config(f"{CONFIG}:{words}")
