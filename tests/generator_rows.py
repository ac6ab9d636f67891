"""The table of generators: what the contract tests need of each. A new generator is a new row."""

from typing import NamedTuple

from network_rows import Count


class Row(NamedTuple):
  """What the contract tests need to know of a generator.

  Attributes:
    small: options that make it tiny, for real compiles.
    counts: its published parameter counts; `classes` are the channels that it makes.
    sizes: sizes that it is tried with; their length is the rank.
    channels: of its input.
    silent: parameters whose gradient may be zero, patterns over "module/.../name".
    image: it makes images; else label maps, or what these are made of.
  """

  small: dict
  counts: tuple[Count, ...] = ()
  sizes: tuple[tuple[int, ...], ...] = ((13, 10), (13, 10, 7))
  channels: int = 2
  silent: tuple[str, ...] = ()
  image: bool = True


ROWS = {
  "resnet_generator": Row(
    dict(widths=(4, 6), blocks=1),
    (Count(11_365_633, classes=1), Count(11_378_179, classes=3, channels=3)),
    # the instance norm that follows takes a bias away
    silent=("first/bias", "down*/bias", "block*/bias", "up*/bias"),
  ),
  # pix2pix's release; the stages of its unet_128 halve 128 pixels to one
  "unet_generator": Row(
    dict(widths=(4, 6, 6), norm="instance"),
    (Count(54_409_603, classes=3, channels=3, options=dict(norm="instance")),),
    silent=("down[23]/bias", "up*/bias"),
  ),
  # SPADE's release for COCO-Stuff and Cityscapes
  "spade_generator": Row(
    dict(widths=(4, 6), hidden=4, norm="instance"),
    (Count(97_480_899, classes=3, channels=184), Count(93_048_003, classes=3, channels=36)),
    # the norm that follows takes it away
    silent=("block*/conv1/bias",),
  ),
  "mask_generator": Row(dict(widths=(4, 6), latent=5), image=False),
  "mask_encoder": Row(dict(widths=(4, 6), latent=5), image=False),
}
