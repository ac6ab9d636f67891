import time

import numpy as np
import pytest
from scipy import ndimage

from jaxseg.data.sources.phantom import body_axes, phantom
from jaxseg.data.sources.phantom_anatomy import smooth_field, spline_weights

BACKGROUND, BODY, LIVER, VESSEL, STOMACH, KIDNEY, LESION = range(7)
CLEAN = dict(noise=0.0, blur=0.0, bias_field=0.0)


def cases_of(source, count):
  return [source.read(name) for name in source.cases[:count]]


@pytest.mark.parametrize("size", [(48, 56), (20, 24, 28)])
@pytest.mark.parametrize("appearance", ["ct", "mr"])
def test_a_case_has_the_declared_shape_labels_and_geometry(size, appearance):
  spacing = tuple(range(2, 2 + len(size)))
  source = phantom(cases=2, size=size, spacing=spacing, appearance=appearance, channels=3)
  case = source.read(source.cases[1])
  assert source.rank == len(size)
  assert len(source.channels) == 3
  assert case.image.shape == (*size, 3)
  assert case.image.dtype == np.float32
  assert np.isfinite(case.image).all()
  assert case.label.shape == size
  np.testing.assert_array_equal(case.geometry.spacing, spacing)
  source.labels.encode(case.label)


def test_every_class_is_there_and_most_of_the_image_is_background_and_body():
  source = phantom(cases=10)
  share = np.zeros(7)
  for case in cases_of(source, 10):
    count = np.bincount(case.label.ravel(), minlength=7)
    assert (count[1:] > 20).all()
    share += count / count.sum() / 10
  assert 0.3 < share[BACKGROUND] < 0.7
  assert 0.003 < share[LESION] < 0.03
  volume = phantom(cases=1, size=(32, 32, 32)).read("phantom_0000")
  assert set(np.unique(volume.label)) == set(range(7))


def test_vessels_and_lesions_lie_in_organs_and_the_liver_touches_the_stomach():
  touching = 0
  for case in cases_of(phantom(cases=10), 10):
    ring = ndimage.binary_dilation(case.label == LESION) & (case.label != LESION)
    host = np.isin(case.label[ring], (LIVER, VESSEL, KIDNEY, STOMACH))
    assert host.mean() > 0.5
    assert (ndimage.binary_dilation(case.label == LIVER) & (case.label == VESSEL)).any()
    touching += (ndimage.binary_dilation(case.label == LIVER) & (case.label == STOMACH)).any()
  assert touching >= 3


def test_one_seed_gives_one_case_and_another_seed_another():
  first, again = (phantom(cases=3, size=(64, 64)).read("phantom_0002") for _ in range(2))
  np.testing.assert_array_equal(first.image, again.image)
  np.testing.assert_array_equal(first.label, again.label)
  other = phantom(cases=3, size=(64, 64), seed=1).read("phantom_0002")
  neighbour = phantom(cases=3, size=(64, 64)).read("phantom_0001")
  for case in (other, neighbour):
    assert (case.label != first.label).mean() > 0.03


def test_appearance_and_degradation_leave_the_anatomy():
  plain = phantom(cases=1).read("phantom_0000")
  changes = [
    dict(appearance="mr", channels=4),
    dict(noise=90.0, noise_kind="rician", blur=2.0, bias_field=0.6, contrast=0.3),
  ]
  for options in changes:
    case = phantom(cases=1, **options).read("phantom_0000")
    np.testing.assert_array_equal(case.label, plain.label)
    assert not np.array_equal(case.image[..., 0], plain.image[..., 0])


def test_ct_and_mr_order_the_tissues_differently():
  ct = phantom(cases=1, **CLEAN).read("phantom_0000")
  mr = phantom(cases=1, appearance="mr", channels=2, **CLEAN).read("phantom_0000")
  mean = {
    name: {c: image[ct.label == c].mean() for c in (LIVER, VESSEL, STOMACH)}
    for name, image in (
      ("ct", ct.image[..., 0]),
      ("t1", mr.image[..., 0]),
      ("t2", mr.image[..., 1]),
    )
  }
  assert mean["ct"][VESSEL] > mean["ct"][LIVER] > mean["ct"][STOMACH]
  assert mean["t1"][LIVER] > mean["t1"][STOMACH] > mean["t1"][VESSEL]
  assert mean["t2"][STOMACH] > mean["t2"][LIVER] > mean["t2"][VESSEL]
  assert 60 < mean["ct"][LIVER] < 170  # HU of an enhanced liver
  np.testing.assert_array_equal(ct.image[ct.label == BACKGROUND], -1000)


def test_gaussian_noise_has_the_asked_deviation():
  clean, noisy = (
    phantom(cases=1, **{**CLEAN, "noise": sigma}).read("phantom_0000") for sigma in (0.0, 40.0)
  )
  added = noisy.image - clean.image
  inside = clean.label == LIVER
  np.testing.assert_allclose(added[inside].std(), 40.0, rtol=0.1)
  np.testing.assert_allclose(added.mean(), 0.0, atol=1.5)


def test_rician_noise_lifts_air_to_the_mean_of_a_rayleigh_law():
  sigma = 50.0
  options = {**CLEAN, "noise": sigma, "noise_kind": "rician"}
  case = phantom(cases=1, appearance="mr", **options).read("phantom_0000")
  air = case.image[case.label == BACKGROUND]
  np.testing.assert_allclose(air.mean(), sigma * np.sqrt(np.pi / 2), rtol=0.03)
  np.testing.assert_allclose(air.std(), sigma * np.sqrt(2 - np.pi / 2), rtol=0.05)
  # at high signal the shift is sigma^2 / (2 signal)
  clean = phantom(cases=1, appearance="mr", **CLEAN).read("phantom_0000")
  inside = clean.label == LIVER
  signal = clean.image[inside].mean()
  shift = case.image[inside].mean() - signal
  np.testing.assert_allclose(shift, sigma**2 / (2 * signal), atol=5.0)
  # in CT it is counted from air
  ct = phantom(cases=1, **options).read("phantom_0000")
  np.testing.assert_allclose(
    ct.image[ct.label == BACKGROUND].mean() + 1000, sigma * np.sqrt(np.pi / 2), rtol=0.03
  )


def test_the_bias_field_multiplies_by_its_range():
  options = dict(appearance="mr", noise=0.0, blur=0.0)
  flat = phantom(cases=1, bias_field=0.0, **options).read("phantom_0000")
  bent = phantom(cases=1, bias_field=0.4, **options).read("phantom_0000")
  inside = flat.image > 50
  ratio = bent.image[inside] / flat.image[inside]
  assert ratio.min() >= 0.6 - 1e-5
  assert ratio.max() <= 1.4 + 1e-5
  assert np.ptp(ratio) > 0.4


def test_contrast_scales_the_difference_of_organs_from_muscle():
  def difference(contrast):
    source = phantom(cases=10, contrast=contrast, **CLEAN)
    return np.mean(
      [
        c.image[c.label == LIVER].mean() - c.image[c.label == STOMACH].mean()
        for c in cases_of(source, 10)
      ]
    )

  # the texture within the tissues stays, and nearly averages out
  np.testing.assert_allclose(difference(0.25), 0.25 * difference(1.0), atol=4.0)


def test_blur_is_a_gaussian_of_the_asked_width_in_millimetres():
  spacing = (2.0, 1.0)
  options = dict(cases=1, size=(64, 128), spacing=spacing, noise=0.0)
  sharp = phantom(blur=0.0, **options).read("phantom_0000").image[..., 0]
  soft = phantom(blur=3.0, **options).read("phantom_0000").image[..., 0]
  oracle = ndimage.gaussian_filter(sharp, (1.5, 3.0), mode="nearest")
  np.testing.assert_allclose(soft, oracle, atol=8.0)
  assert np.abs(soft - sharp).max() > 200


def test_imbalance_divides_the_share_of_lesions():
  def share(imbalance, **options):
    source = phantom(cases=12, imbalance=imbalance, **options)
    return np.mean([(c.label == LESION).mean() for c in cases_of(source, 12)])

  np.testing.assert_allclose(share(1.0) / share(4.0), 4.0, rtol=0.35)
  assert share(1.0, lesions=(0, 0)) == 0.0
  assert share(1.0, lesions=(4, 4)) > 1.3 * share(1.0, lesions=(1, 1))


def test_scale_range_sets_the_size_of_the_body():
  def width(low, high):
    source = phantom(cases=8, scale_range=(low, high))
    return np.mean([np.ptp(np.nonzero(c.label)[1]) for c in cases_of(source, 8)])

  np.testing.assert_allclose(width(0.5, 0.5) / width(0.9, 0.9), 0.5 / 0.9, rtol=0.05)


def test_spacing_samples_the_same_anatomy_more_coarsely():
  fine = phantom(cases=1, size=(32, 32, 32)).read("phantom_0000").label
  coarse = phantom(cases=1, size=(16, 32, 32), spacing=(2.0, 1.0, 1.0)).read("phantom_0000").label
  # a coarse slice lies between two fine ones
  either = (coarse == fine[::2]) | (coarse == fine[1::2])
  assert either.mean() > 0.97
  axes = body_axes((16, 32, 32), (2.0, 1.0, 1.0))
  np.testing.assert_allclose([axes[0][0], axes[1][0]], [-15 / 16, -31 / 32])


def test_brightness_alone_does_not_tell_the_classes():
  images, labels = [], []
  for case in cases_of(phantom(cases=6), 6):
    images.append(case.image.ravel())
    labels.append(case.label.ravel())
  image, label = np.concatenate(images), np.concatenate(labels)
  bins = np.digitize(image, np.arange(-1050, 600, 10))
  counts = np.zeros((bins.max() + 1, 7))
  np.add.at(counts, (bins, label), 1)
  guess = (counts / counts.sum(0)).argmax(1)[bins]
  dice = [
    2 * ((guess == c) & (label == c)).sum() / ((guess == c).sum() + (label == c).sum())
    for c in range(1, 7)
  ]
  assert np.mean(dice) < 0.6


def test_a_smooth_field_has_mean_zero_and_deviation_one():
  rng = np.random.default_rng(0)
  weights = spline_weights([np.linspace(-1, 1, 200)] * 2, 40)
  field = smooth_field(rng, weights)
  np.testing.assert_allclose([field.mean(), field.std()], [0, 1], atol=0.08)


def test_the_fingerprint_follows_the_options_that_change_voxels():
  base = phantom(cases=2).fingerprint
  assert base == phantom(cases=2, noise=25.0).fingerprint  # the default, spelt out
  for options in (dict(seed=1), dict(noise=26.0), dict(spacing=(2, 1)), dict(channels=2)):
    assert phantom(cases=2, **options).fingerprint != base


def test_a_case_is_quick_to_draw():
  for size, limit in (((128, 128), 0.015), ((64, 64, 64), 0.4)):
    source = phantom(cases=3, size=size)
    seconds = []
    for name in source.cases:
      start = time.process_time()
      source.read(name)
      seconds.append(time.process_time() - start)
    assert min(seconds) < 2 * limit  # process time counts every thread of the matrix products


@pytest.mark.parametrize(
  ("options", "words"),
  [
    (dict(size=(64,)), "size"),
    (dict(spacing=(1.0,)), "2 positive millimetres"),
    (dict(appearance="xray"), "ct, mr"),
    (dict(channels=5), "1 to 4"),
    (dict(noise_kind="poisson"), "gaussian or rician"),
    (dict(bias_field=1.0), "bias_field"),
    (dict(contrast=0.0), "contrast"),
    (dict(scale_range=(1.0, 0.5)), "scale_range"),
    (dict(lesions=(3, 1)), "lesions"),
    (dict(cases=0), "cases"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=f"phantom: .*{words}"):
    phantom(**options)


def test_an_unknown_case_is_refused_in_words():
  with pytest.raises(ValueError, match="'phantom_0009' doesn't exist"):
    phantom(cases=3).read("phantom_0009")
