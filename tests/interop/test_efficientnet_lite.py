"""EfficientNet-Lite's names: the logits of our encoder are those of the original."""

import jax
import numpy as np
import pytest
import state_dicts
from closeness import assert_close
from skimage import data, transform

from jaxseg import paths
from jaxseg.interop import FORMATS, packages
from jaxseg.networks.encoders import Classifier, encoder

read = FORMATS["efficientnet_lite"].read


def logits(weights, x, name="efficientnet_lite0", **options):
  """The classifier's, whose every array is in the weights and nothing else."""
  net = Classifier(encoder(dict(name=name, top=True, **options)))
  shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), x))
  flat = {kind: paths.flatten(tree) for kind, tree in shapes.items()}
  assert {
    path.removeprefix("encoder/"): of.shape for tree in flat.values() for path, of in tree.items()
  } == {path: of.shape for path, of in weights.items()}
  variables = {
    kind: paths.unflatten({path: weights[path.removeprefix("encoder/")] for path in tree})
    for kind, tree in flat.items()
  }
  return jax.jit(net.apply)(variables, x)


def timms(name: str) -> str:
  """A name of efficientnet_lite_pytorch's as timm has it."""
  counts = [blocks for *_, blocks in state_dicts.LITE0]
  ends = {"_conv_stem": "conv_stem", "_conv_head": "conv_head", "_fc": "classifier"}
  ends |= {"_bn0": "bn1", "_bn1": "bn2"}
  if not name.startswith("_blocks."):
    module, _, last = name.partition(".")
    return f"{ends[module]}.{last}"
  _, index, module, last = name.split(".")
  index, stage = int(index), 0
  while index >= counts[stage]:
    index, stage = index - counts[stage], stage + 1
  kinds = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": "conv_pwl"}
  kinds |= {"_bn0": "bn1", "_bn1": "bn2", "_bn2": "bn3"}
  if stage == 0:
    kinds |= {"_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}
  return f"blocks.{stage}.{index}.{kinds[module]}.{last}"


def test_logits_are_those_of_pytorch_by_both_families_of_names(tmp_path):
  numbers = state_dicts.numbers(state_dicts.efficientnet_lite())
  np.savez(tmp_path / "x.npz", **numbers)
  weights = read(tmp_path / "x.npz")
  out = logits(weights, state_dicts.image(1, 64, 64, 3))
  # computed by PyTorch 2.13 and efficientnet_lite_pytorch 0.1.0 from the same numbers
  expected = [-3.472067, 2.83983, 1.071899, -3.56412, -3.897366, -0.521138]
  assert_close(out[0, :6], expected, atol=1e-4)
  np.savez(tmp_path / "timm.npz", **{timms(name): of for name, of in numbers.items()})
  theirs = read(tmp_path / "timm.npz")
  assert theirs.keys() == weights.keys()
  for path, of in theirs.items():
    np.testing.assert_array_equal(of, weights[path])


def test_timms_own_weights_pad_symmetrically(tmp_path):
  numbers = state_dicts.numbers(state_dicts.efficientnet_lite())
  np.savez(tmp_path / "x.npz", **numbers)
  np.savez(tmp_path / "timm.npz", **{timms(name): of for name, of in numbers.items()})
  weights = FORMATS["timm_efficientnet_lite"].read(tmp_path / "timm.npz")
  out = logits(weights, state_dicts.image(1, 64, 64, 3), padding="symmetric", epsilon=1e-5)
  # the same numbers by PyTorch 2.13, padding=kernel // 2 and eps=1e-5 as timm's conv2d and norms
  expected = [-3.658110, 4.544505, 1.343182, -0.970980, -3.823101, -0.863444]
  assert_close(out[0, :6], expected, atol=1e-4)
  with pytest.raises(ValueError, match=r"x\.npz: .*timm's EfficientNet-Lite"):
    FORMATS["timm_efficientnet_lite"].read(tmp_path / "x.npz")


@pytest.mark.parametrize(("number", "size"), [(0, 224), (1, 240), (2, 260)])
def test_a_cat_is_a_cat(number, size):
  try:
    file = packages.file_of(f"efficientnet_lite{number}")
  except FileNotFoundError as error:
    pytest.skip(str(error))
  cat = transform.resize(data.chelsea()[:, 60:360] / 255.0, (size, size), anti_aliasing=True)
  out = logits(
    read(file), cat[None].astype(np.float32), f"efficientnet_lite{number}", inputs="unit"
  )
  # tabby, tiger, Persian, Siamese and Egyptian cat
  assert 281 <= np.argmax(out) <= 285
