"""Which patch, and cutting it out: order, foreground, padding, both caches."""

import collections

import jax
import numpy as np
import pytest
import tiny

from jaxseg.batch import LabelSpec
from jaxseg.data import sampling
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.prepared.maps import with_maps
from jaxseg.data.prepared.preparing import prepare
from jaxseg.data.sampling import Choice
from jaxseg.data.sampling import sampling as make
from jaxseg.data.sources import phantom as phantoms
from jaxseg.data.sources.source import RawCase, Source
from jaxseg.data.stream import MAIN, Feeder, Stream, sample


def numpy_cut(array, start, size, pad):
  """Independent oracle: voxel by voxel."""
  out = np.full((*size, *array.shape[len(size) :]), pad, array.dtype)
  for at in np.ndindex(*size):
    where = tuple(s + a for s, a in zip(start, at, strict=True))
    if all(0 <= w < n for w, n in zip(where, array.shape, strict=False)):
      out[at] = array[where]
  return out


@pytest.mark.parametrize("rank", [2, 3])
def test_host_and_device_cut_the_same_patch_and_pad_outside(rank):
  data = tiny.dataset(rank=rank)
  how = make(rank, patch=(9, 30, 8)[-rank:], batch=1)
  store = sampling.device_store(data, (1, 3))
  for start in [(-3, 2, -4)[-rank:], (7, -9, 12)[-rank:], (40, 0, 0)[-rank:]]:
    host = sampling.cut(sampling.compact(data.load(3)), how, Choice(1, start))
    device = sampling.gather(store, 1, np.array(start, np.int32), how=how)
    for field, pad in (("image", 0), ("label", 0)):
      expected = numpy_cut(data.load(3)[field], start, how.crop, pad)
      np.testing.assert_array_equal(host[field], expected)
      np.testing.assert_array_equal(device[field], expected)
      assert host[field].dtype == device[field].dtype == data.load(3)[field].dtype
    np.testing.assert_array_equal(device["spacing"], host["spacing"])


@pytest.mark.parametrize("rank", [2, 3])
def test_a_patch_read_from_disk_is_that_of_the_whole_case(rank):
  data = tiny.dataset(rank=rank)
  how = make(rank, patch=(9, 30, 8)[-rank:], batch=1)
  for start in [(-3, 2, -4), (7, -9, 12), (40, 0, 0), (-50, 1, 2), (1, 1, 3)]:
    choice = Choice(0, start[-rank:])
    whole = sampling.cut(data.load(2), how, choice)
    part = sampling.read_patch(data, 2, how, choice)
    jax.tree.map(np.testing.assert_array_equal, part, whole)
    assert {k: v.dtype for k, v in part.items()} == {k: v.dtype for k, v in whole.items()}


def test_all_caches_feed_the_same_bits(tmp_path):
  source = phantoms.phantom(cases=3, size=(20, 20, 20))
  data = prepare(source, cache_dir=tmp_path)
  data = with_maps(data, {"distance": {}}, range(3))
  how = make(3, patch=(9, 24, 8), batch=2, foreground=0.5)
  streams = {MAIN: Stream(data, (0, 1, 2), how)}
  feeders = {c: Feeder(streams, cache=c) for c in sampling.CACHES}
  store = jax.device_put(feeders["device"].store())
  for step in range(4):
    host = feeders["host"].element(step)[MAIN]
    disk = feeders["disk"].element(step)[MAIN]
    device = sample(streams, store, feeders["device"].element(step))[MAIN]
    assert set(host) == set(disk) == set(device) == {"image", "label", "spacing", "distance"}
    jax.tree.map(np.testing.assert_array_equal, disk, host)
    jax.tree.map(np.testing.assert_array_equal, dict(device), host)


def test_a_slice_of_a_volume_is_a_sample_of_rank_two():
  data = tiny.dataset(rank=3)
  how = make(3, patch=(10, 12), batch=1, slices=1)
  assert how.crop == (10, 1, 12)
  patch = sampling.cut(data.load(0), how, Choice(0, (2, 5, 1)))
  np.testing.assert_array_equal(patch["label"], data.load(0)["label"][2:12, 5, 1:13])
  assert patch["image"].shape == (10, 12, 1)
  assert patch["spacing"].shape == (2,)
  store = sampling.device_store(data, (0,))
  device = sampling.gather(store, 0, np.array((2, 5, 1), np.int32), how=how)
  np.testing.assert_array_equal(device["label"], patch["label"])


def test_every_case_comes_once_per_epoch_in_a_new_order():
  data = tiny.dataset(cases=6)
  how = make(2, patch=(8, 8), batch=3, foreground=0.0)
  epochs = []
  for epoch in range(3):
    steps = range(2 * epoch, 2 * epoch + 2)
    epochs.append(
      [sampling.choose(data, range(6), how, s, slot).case for s in steps for slot in range(3)]
    )
  assert all(sorted(order) == list(range(6)) for order in epochs)
  assert len({tuple(order) for order in epochs}) > 1


def test_order_is_a_pure_function_of_seed_step_and_slot():
  data = tiny.dataset()

  def draw(seed, step):
    how = make(2, patch=(8, 8), batch=2, seed=seed)
    return [sampling.choose(data, range(6), how, step, slot) for slot in range(2)]

  assert draw(0, 17) == draw(0, 17)
  assert draw(0, 17) != draw(0, 18)
  assert [draw(0, s) for s in range(9)] != [draw(1, s) for s in range(9)]


def test_foreground_share_is_kept_and_classes_are_drawn_uniformly():
  data = tiny.dataset()
  how = make(2, patch=(3, 3), batch=1, foreground=0.25)
  centres = collections.Counter()
  for step in range(400):
    if int((step + 1) * 0.25) > int(step * 0.25):
      choice = sampling.choose(data, range(6), how, step, 0)
      patch = sampling.cut(data.load(choice.case), how, choice)["label"]
      assert patch.any()
      centres[int(patch[1, 1])] += 1
  assert sum(centres.values()) == 100
  # at a border the patch is pushed inside, so the centre may miss; classes are otherwise even
  assert 30 <= centres[1] <= 70


def test_a_batch_holds_as_many_patches_around_foreground_as_in_nnunet():
  data = tiny.dataset()
  how = make(2, patch=(3, 3), batch=2, foreground=0.5)
  for step in range(50):
    choice = sampling.choose(data, range(6), how, step, 1)
    assert sampling.cut(data.load(choice.case), how, choice)["label"].any()


@pytest.mark.parametrize("foreground", [0.0, 1.0])
def test_where_labels_have_an_ignored_value_every_patch_is_around_what_is_annotated(
  foreground, tmp_path
):
  label = np.full((30, 30), 9)
  label[20:24, 3:5] = 0
  label[22, 4] = 1
  label = np.stack([label, np.where(label == 1, 0, label)])
  spec = LabelSpec(("background", "a"), (0, 1), ignore=9)
  raws = [
    RawCase(np.ones((30, 30, 1), np.float32), each, None, plain_geometry((30, 30)))
    for each in label
  ]
  source = Source("sparse", ("0", "1"), ("x",), spec, 2, lambda case: raws[int(case)], "f")
  data = prepare(source, cache_dir=tmp_path, workers=1)
  how = make(2, patch=(3, 3), batch=1, foreground=foreground)
  classes = [set(), set()]
  for step in range(60):
    choice = sampling.choose(data, range(2), how, step, 0)
    patch = sampling.cut(data.load(choice.case), how, choice)
    assert patch["weight"][1, 1] == 1
    classes[choice.case].add(int(patch["label"][1, 1]))
  # of a case without any class, forced or not, what is annotated
  assert classes == ([{1}, {0}] if foreground else [{0, 1}, {0}])


def test_patch_larger_than_the_case_is_centred_and_padded():
  data = tiny.dataset()
  how = make(2, patch=(40, 41), batch=1, foreground=1.0)
  for step in range(6):
    choice = sampling.choose(data, range(6), how, step, 0)
    shape = data.shape(choice.case)
    for start, size, crop in zip(choice.start, shape, how.crop, strict=True):
      assert abs(start + (crop - size) / 2) <= 0.5
    patch = sampling.cut(data.load(choice.case), how, choice)
    assert patch["label"].sum() == data.load(choice.case)["label"].sum()


def test_enlarged_crops_leave_the_borders_of_a_case_to_the_patch():
  data = tiny.dataset()
  how = make(2, patch=(8, 8), crop=(20, 20), batch=1, foreground=0.0)
  firsts = {sampling.choose(data, (0,), how, step, 0).start[0] + 6 for step in range(300)}
  assert firsts == set(range(data.shape(0)[0] - 8 + 1))


def test_what_a_valid_network_gives_covers_the_case_to_its_border():
  data = tiny.dataset(cases=1)
  (rows, _), margin = data.shape(0), 3
  how = make(2, patch=(12, 12), margin=(margin, margin), batch=1, foreground=0.0)
  starts = [sampling.choose(data, [0], how, step, 0).start[0] for step in range(300)]
  # the inner 6 voxels reach from the first voxel to the last
  assert (min(starts), max(starts)) == (-margin, rows - 6 - margin)


def test_a_2d_patch_on_volumes_and_the_reverse_are_told_apart():
  with pytest.raises(ValueError, match=r"\(8, 8\) has 2 axes, but the cases have rank 3.*slices"):
    make(3, patch=(8, 8), batch=1)
  with pytest.raises(ValueError, match=r"\(8, 8, 8\) has 3 axes, but the cases have rank 2"):
    make(2, patch=(8, 8, 8), batch=1)
  with pytest.raises(ValueError, match=r"config.data.slices: 0 needs volumes"):
    make(2, patch=(8, 8), batch=1, slices=0)


def test_grain_feeds_from_any_step_what_an_uninterrupted_run_sees():
  data = tiny.dataset()
  how = make(2, patch=(8, 8), batch=2)
  streams = {MAIN: Stream(data, tuple(range(6)), how)}
  feeder = Feeder(streams, cache="host")
  whole = list(feeder.elements(0, 7))
  late = list(feeder.elements(4, 7))
  assert len(whole) == 7
  for a, b in zip(whole[4:], late, strict=True):
    jax.tree.map(np.testing.assert_array_equal, a, b)
  with pytest.raises(
    ValueError, match=r"config.data.cache: 'tape' is unknown; choices: device, host, disk"
  ):
    Feeder(streams, cache="tape")
