"""The table of networks: what each must hold; plain U-Nets are in unet_rows. A row for each."""

import unet_rows
from network_row import Count, Row
from published_options import (
  NAS_UNET,
  PSPNET_SMP,
  TINY_RESNET,
  dints_genotype,
)

from jaxseg.search import genotypes

# options that make the networks of whole spaces tiny
SUPERNETS = {
  "cell_supernet": dict(
    nodes=1,
    features=4,
    depth=1,
    operations={
      "down": ("max", "down_conv"),
      "up": ("up_conv",),
      "normal": ("none", "identity", "conv"),
    },
    norm="instance",
  ),
  "dints_supernet": dict(blocks=1, depths=2, features=4, halve=False),
}

ROWS = {
  **unet_rows.ROWS,
  "fc_densenet": Row(
    dict(layers=(2, 1, 2), growth=3, stem=4),
    (
      Count(1_376_988, classes=12, channels=3, options=dict(layers=57)),
      Count(9_322_348, classes=12, channels=3, options=dict(layers=103)),
    ),
    # biases of convolutions before batch norm
    silent=("*/conv*/bias", "transition_down*_conv/bias"),
  ),
  "dense_unet161": Row(
    dict(blocks=(2, 1), growth=3, width=4, widths=(4, 5, 6)),
    (Count(49_527_843, channels=3),),
    sizes=((13, 10),),
    # biases of convolutions before batch norm
    silent=("up*_conv/bias",),
  ),
  "dense_unet3d": Row(
    dict(blocks=(2, 1), growth=3, width=4, widths=(4, 5, 6), skips=True),
    (Count(15_977_467, channels=4, rank=3),),
    sizes=((13, 10, 7),),
    # biases of convolutions before batch norm
    silent=("up*_conv/bias",),
  ),
  "h_denseunet": Row(
    dict(
      net2d=dict(blocks=(2, 1), growth=3, width=4, widths=(4, 5, 6)),
      net3d=dict(blocks=(1, 2), growth=3, width=4, widths=(4, 5, 6)),
      score_scale=1.0,
      freeze_2d="statistics",
    ),
    (Count(65_616_289, rank=3),),
    sizes=((5, 10, 7),),
    silent=(
      "*/up*_conv/bias",  # convolutions before batch norm
      "fusion_conv/bias",  # likewise
      "net3d/head/*",  # counted by the paper's code, not in the fusion
    ),
  ),
  "encoder_unet": Row(
    dict(encoder=TINY_RESNET, widths=(6, 4)),
    # segmentation_models.pytorch's Unet
    (
      Count(24_436_369, classes=1, channels=3),
      Count(24_430_532, classes=4),
      Count(32_521_105, classes=1, channels=3, options=dict(encoder="resnet50")),
    ),
  ),
  "encoder_unetpp": Row(
    dict(encoder=TINY_RESNET, widths=(6, 4)),
    # segmentation_models.pytorch's UnetPlusPlus
    (Count(26_078_609, classes=1, channels=3),),
  ),
  "pspnet": Row(
    dict(encoder=TINY_RESNET, bins=(1, 2), width=8),
    (Count(21_437_985, classes=1, channels=3, options=PSPNET_SMP),),
  ),
  "deeplabv3": Row(
    dict(encoder=TINY_RESNET, rates=(1, 2), width=6),
    # segmentation_models.pytorch's
    (
      Count(26_007_105, classes=1, channels=3, options=dict(encoder="resnet34")),
      Count(39_633_729, classes=1, channels=3),
    ),
  ),
  "cenet": Row(
    dict(encoder=dict(TINY_RESNET, blocks=(1, 1)), pools=(1, 2), width=4),
    # four windows that fit the two features per axis of a small image: none has weights
    (
      Count(29_003_093, classes=1, channels=3, options=dict(pools=(1, 1, 2, 2))),
      Count(29_003_382, classes=2, channels=3, options=dict(pools=(1, 1, 2, 2))),
    ),
    sizes=((13, 10), (13, 10, 9)),
    # biases of convolutions before batch norm
    silent=("decoder*/conv*/bias", "decoder*/deconv2/bias"),
  ),
  "unetr": Row(
    dict(features=2, hidden=8, mlp=8, heads=2, layers=2, taps=(1, 1, 2), strides=(2, 2, 1, 1)),
    # MONAI's UNETR(1, 14, 96^rank) less the 18,432 of norms that it never applies
    (Count(92_802_478 - 18_432, classes=14, rank=3),),
  ),
  "swin_unetr": Row(
    dict(features=4, depths=(2,), heads=2, window=4),
    # MONAI's SwinUNETR(1, 14, feature_size=48)
    (Count(62_187_296, classes=14, rank=3),),
  ),
  "linknet": Row(
    dict(widths=(4, 6)),
    # deepbet's
    (Count(2_126_258, classes=2, rank=3),),
    # the instance norm that follows takes a bias away
    silent=("last_layer*/conv/bias",),
  ),
  "deepbet": Row(
    dict(widths=(4, 6)),
    (Count(2 * 2_126_258, classes=2, rank=3),),
    # which of the two sees an image goes by its size; and as of linknet
    silent=("box/*", "brain/last_layer*/conv/bias"),
  ),
  # deepbrain's, whose graph has a bias of its head, too
  "deepbrain": Row(dict(widths=(4, 6)), (Count(171_465, classes=1, rank=3),)),
  # SynSeg-Net's, 7 classes
  "resnet_segmenter": Row(
    dict(widths=(4, 6), blocks=1),
    (Count(11_384_455, classes=7),),
    # the instance norm that follows takes a bias away
    silent=("first/bias", "down*/bias", "block*/bias", "up*/bias"),
  ),
  # the release's, without the ImageNet classifier that it registers and doesn't use
  "shape_attentive": Row(
    dict(
      encoder=dict(name="densenet121", blocks=(1, 2), growth=3, width=4),
      centre_width=6,
      widths=(8, 6),
      shape_widths=(4, 3),
      head_widths=(4, 4),
      reduction=1,  # all hidden units may be off where they are few
    ),
    (Count(32_896_505 - 1_025_000, classes=4, channels=3),),
    sizes=((13, 10),),
    silent=(
      "*/conv/bias",  # a norm follows
      "shape/asked*/bias",  # likewise
      "shape/gate*/alpha/bias",  # likewise
      "expand/conv/kernel",  # likewise, of one channel: it scales what the norm scales back
    ),
  ),
  # the published code's counts, with the norm of its head that it never applies
  "cell_unet": Row(
    dict(genotype=genotypes.PUBLISHED["nas_unet_v2"], features=4, depth=1),
    (
      Count(123_611, classes=2, options=dict(NAS_UNET, features=16)),
      Count(1_086_409, classes=2, options=dict(NAS_UNET, features=48)),
      Count(
        833_401,
        classes=2,
        options=dict(NAS_UNET, genotype=genotypes.PUBLISHED["nas_unet_v2_en"], features=48),
      ),
    ),
    # the channel weights of 4 channels have one hidden unit, which may be off
    silent=("*/squeeze/*", "*/excite/kernel"),
  ),
  # MONAI 1.6.1's TopologyInstance, without the stems and joins that nothing reads
  "dints": Row(
    dict(genotype=dints_genotype("conv_3x3"), features=4),
    sizes=((13, 10),),
  ),
  "hrnet_ocr": Row(
    dict(width=4, ocr_width=4, blocks=1, modules=(1, 1, 1), stem=4, dropout=0.0),
    (
      Count(10_032_019, classes=1, channels=6, options=dict(prompt_channels=3)),
      Count(
        30_951_363,
        classes=1,
        channels=6,
        options=dict(width=32, ocr_width=128, prompt_channels=3),
      ),
    ),
    # the coarsest branch has a 32nd of the voxels
    sizes=((40, 36), (36, 20, 20)),
    silent=("*/conv/bias",),  # a norm follows
  ),
}
