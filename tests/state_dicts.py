"""Names and shapes of torchvision's and EfficientNet-Lite's tensors, and numbers for them."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

Shapes = dict[str, tuple[int, ...]]


def numbers(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
  """Arrays that the names alone decide: kernels keep the size of what goes through them."""
  out = {}
  for name, shape in shapes.items():
    if name.endswith("num_batches_tracked"):
      out[name] = np.array(7, np.int64)
      continue
    if name.endswith("relative_position_index"):
      out[name] = np.zeros(shape, np.int64)
      continue
    random = np.random.default_rng(zlib.crc32(name.encode()))
    noise = random.standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
      out[name] = noise * np.float32((2 / np.prod(shape[1:])) ** 0.5)
    elif name.endswith(("var", "weight")):
      out[name] = 1 + 0.2 * np.abs(noise)
    else:
      out[name] = 0.1 * noise
  return out


def image(*shape: int) -> np.ndarray:
  return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def norm(name: str, width: int) -> Shapes:
  kinds = ("weight", "bias", "running_mean", "running_var")
  return {
    **{f"{name}.{kind}": (width,) for kind in kinds},
    f"{name}.num_batches_tracked": (),
  }


def resnet(layers: Sequence[int], classes: int) -> Shapes:
  """Of blocks of two convolutions."""
  out = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
  before = 64
  for stage, blocks in enumerate(layers):
    width = 64 * 2**stage
    for block in range(blocks):
      place = f"layer{stage + 1}.{block}"
      out |= {f"{place}.conv1.weight": (width, before, 3, 3), **norm(f"{place}.bn1", width)}
      out |= {f"{place}.conv2.weight": (width, width, 3, 3), **norm(f"{place}.bn2", width)}
      if before != width:
        out[f"{place}.downsample.0.weight"] = (width, before, 1, 1)
        out |= norm(f"{place}.downsample.1", width)
      before = width
  return out | {"fc.weight": (classes, before), "fc.bias": (classes,)}


def densenet(blocks: Sequence[int], growth: int, width: int, classes: int) -> Shapes:
  out = {"features.conv0.weight": (width, 3, 7, 7), **norm("features.norm0", width)}
  for stage, layers in enumerate(blocks, start=1):
    for layer in range(1, layers + 1):
      place = f"features.denseblock{stage}.denselayer{layer}"
      out |= norm(f"{place}.norm1", width)
      out |= {
        f"{place}.conv1.weight": (4 * growth, width, 1, 1),
        **norm(f"{place}.norm2", 4 * growth),
      }
      out[f"{place}.conv2.weight"] = (growth, 4 * growth, 3, 3)
      width += growth
    if stage < len(blocks):
      place = f"features.transition{stage}"
      out |= {**norm(f"{place}.norm", width), f"{place}.conv.weight": (width // 2, width, 1, 1)}
      width //= 2
  out |= norm(f"features.norm{len(blocks) + 1}", width)
  return out | {"classifier.weight": (classes, width), "classifier.bias": (classes,)}


def vgg(layers: Sequence[int | str], batch_norm: bool) -> Shapes:
  """The convolutions; "M" is a pooling."""
  out, place, before = {}, 0, 3
  for width in layers:
    if width == "M":
      place += 1
      continue
    out |= {
      f"features.{place}.weight": (width, before, 3, 3),
      f"features.{place}.bias": (width,),
    }
    out |= norm(f"features.{place + 1}", width) if batch_norm else {}
    place, before = place + 2 + batch_norm, width
  return out


# expansion, kernel, features, blocks of Lite0's stages
LITE0 = ((1, 3, 16, 1), (6, 3, 24, 2), (6, 5, 40, 2), (6, 3, 80, 3), (6, 5, 112, 3), (6, 5, 192, 4))
LITE0 += ((6, 3, 320, 1),)


def efficientnet_lite(stages=LITE0) -> Shapes:
  """By the names of efficientnet_lite_pytorch."""
  out = {"_conv_stem.weight": (32, 3, 3, 3), **norm("_bn0", 32)}
  before, index = 32, 0
  for expansion, kernel, width, blocks in stages:
    for _ in range(blocks):
      place, wide = f"_blocks.{index}", before * expansion
      if expansion != 1:
        out |= {f"{place}._expand_conv.weight": (wide, before, 1, 1), **norm(f"{place}._bn0", wide)}
      out |= {f"{place}._depthwise_conv.weight": (wide, 1, kernel, kernel)}
      out |= norm(f"{place}._bn1", wide)
      out |= {f"{place}._project_conv.weight": (width, wide, 1, 1), **norm(f"{place}._bn2", width)}
      before, index = width, index + 1
  out |= {"_conv_head.weight": (1280, before, 1, 1), **norm("_bn1", 1280)}
  return out | {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}
