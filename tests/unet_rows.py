"""The table of networks: those of plain stages, down and up again."""

from network_row import Count, Row
from published_options import (
  ABDOMEN_MR,
  ATTENTION_UNET_AGN,
  ATTENTION_UNET_MONAI,
  GCR,
  HIPPOCAMPUS,
  KITENET,
  VNET_PORT,
  kiunet3d,
)

ROWS = {
  # other public U-Nets by its options: test_unet.py
  "unet": Row(dict(widths=(4, 6, 8), depth=1), (Count(22_720_640),)),
  "unet2015": Row(
    dict(widths=(4, 6)),
    (Count(31_030_658, classes=2, options=dict(padding="same")),),
    # valid convolutions take these: 18 -> 14 -> 7 -> 3 -> 6 -> 2
    sizes=((18, 20), (18, 20, 22)),
  ),
  "unet3d": Row(
    dict(widths=(4, 6), padding="same"),
    (
      # the paper's counting leaves out what batch norms learn
      Count(19_069_955, channels=3, rank=3, options=dict(padding="same", norm="none")),
      # scale and bias of 32 + 64 + 64 + 128 + 128 + 256 + 256 + 512 + 2 (256 + 128 + 64) channels
      Count(19_069_955 + 2 * 2_336, channels=3, rank=3, options=dict(padding="same")),
      Count(16_318_691, classes=1, rank=3, options=GCR),
      Count(4_081_300, classes=2, rank=3, options=dict(GCR, widths=(32, 64, 128, 256))),
    ),
    # the batch norm that follows takes a bias away
    silent=("*/conv/bias",),
  ),
  "vnet": Row(
    dict(widths=(4, 6), depth=(1, 2), decoder_depth=1, kernel=3),
    (
      Count(65_175_314, classes=2, rank=3),
      Count(45_600_316, classes=2, rank=3, options=VNET_PORT),
      Count(45_603_934, classes=2, rank=3, options=dict(VNET_PORT, activation="prelu")),
      Count(45_597_898, classes=2, rank=3, options=dict(VNET_PORT, conv_bias=False)),
      Count(45_593_892, classes=1, rank=3, options=dict(VNET_PORT, conv_bias=False)),
    ),
  ),
  "posterior_cascade": Row(
    dict(stage=dict(name="unet", widths=(4, 6), depth=1, decoder_depth=1)),
    # stage 1, and stage 2 on image and posterior
    (Count(22_720_640 + 22_722_368),),
  ),
  "recurrent_saliency": Row(
    dict(
      coarse=dict(name="unet", widths=(4, 6), depth=1, decoder_depth=1),
      fine=dict(name="unet", widths=(4, 6), depth=1, decoder_depth=1),
      box_margin=1,
      crop=8,
    )
  ),
  "detect_then_segment": Row(
    dict(
      segmenter=dict(name="unet", widths=(4, 6), depth=1, decoder_depth=1),
      roi=8,
      detector_widths=(4, 6, 6),
      detector_level=1,
      detector_features=4,
    ),
    # the detector learns from its own losses (methods.detected), not from the logits
    silent=("detector/*",),
  ),
  "lw_hcn": Row(dict(widths=(4, 6), depth=1, flat_levels=1), sizes=((13, 10, 7),)),
  "pseudo3d": Row(
    dict(slices=3, inner=dict(name="unet", widths=(4, 6), depth=1)),
    (Count(22_722_944, rank=3),),
    sizes=((5, 10, 7),),
  ),
  "triplanar": Row(
    dict(fusion="learned", inner=dict(name="unet", widths=(4, 6), depth=1)),
    sizes=((5, 10, 7),),
  ),
  "r2unet": Row(
    dict(widths=(4, 6), block=dict(name="recurrent", t=1), decoder_depth=1),
    (
      Count(39_091_393, classes=1, channels=3),
      Count(39_091_393, classes=1, channels=3, options=dict(block=dict(name="recurrent", t=3))),
      Count(34_527_041, classes=1, channels=3, options=dict(block="plain", residual=False)),
    ),
    # biases of convolutions before batch norm
    silent=("*/recurrent*/conv/bias", "up*/conv/bias"),
  ),
  "bcdunet": Row(
    dict(widths=(4, 6)),
    (Count(20_658_821, classes=1, options=dict(bidirectional=False)),),
    # biases of transposed convolutions before batch norm
    silent=("up*/bias",),
  ),
  "bdclstm": Row(dict(widths=(4, 6), hidden=4, layers=1), sizes=((3, 13, 10),)),
  "attention_unet": Row(
    dict(widths=(4, 6, 8), depth=1),
    (
      Count(34_878_573, classes=1, channels=3),
      Count(1_466_566, classes=2, rank=3, options=ATTENTION_UNET_MONAI),
      # AGN's unet_3D, 2,466,052; the gating signal, 256 * 128 + 128 + 2 * 128; and its gates of
      # 32, 64 and 128 channels: 8 c^2 + 129 c + c + 1 + c^2 + 3 c each
      Count(2_722_535, classes=4, rank=3, options=ATTENTION_UNET_AGN),
    ),
    # biases of convolutions before batch norm
    silent=("*/conv/bias", "*/psi/bias"),
  ),
  "attention_unet_dsv": Row(
    dict(widths=(4, 6, 8)),
    (
      Count(6_214_151, classes=4, rank=3),
      Count(6_473_322, classes=4, rank=3, options=dict(gates="multi")),
      Count(5_888_004, classes=4, rank=3, options=dict(gates="none")),
    ),
    # biases of convolutions before batch norm
    silent=("*/conv/bias",),
  ),
  "nonlocal_unet": Row(
    dict(features=4, depth=2, chunk=64),
    (Count(1_760_452, classes=4, channels=2, rank=3),),
    # a key's bias adds the same to all scores of a query; biases of what a batch norm follows
    silent=("*/key/bias", "*/out/bias"),
  ),
  "unetpp": Row(
    dict(widths=(4, 6, 8), depth=1, deep_supervision=True),
    (
      Count(9_163_329, classes=1, channels=3),
      Count(9_163_428, classes=1, channels=3, options=dict(deep_supervision=True)),
      Count(102_498, classes=2, options=dict(level=1)),
      Count(518_562, classes=2, options=dict(level=2)),
      Count(2_235_618, classes=2, options=dict(level=3)),
      Count(9_162_786, classes=2, options=dict(level=4)),
      # MONAI's BasicUNetPlusPlus(2, 1, 2)
      Count(
        2_410_312,
        classes=2,
        options=dict(
          widths=(32, 32, 64, 128, 256),
          up="transpose",
          norm="instance",
          activation="leaky_relu",
          deep_supervision=True,
        ),
      ),
    ),
    # biases of convolutions before batch norm
    silent=("x*/conv/bias",),
  ),
  "multiresunet": Row(
    dict(widths=(8, 12)),
    # the public code's "1 class" gives two channels
    (Count(7_251_376, classes=2, channels=3), Count(7_251_130, classes=2)),
    silent=(
      "*/conv/bias",  # convolutions before batch norm
      "head/bias",  # likewise
      "*/shortcut*/norm/bias",  # the norm of a sum follows
      "encoder?/norm/bias",  # the norm of the concatenation: likewise
      "decoder?/norm/bias",
    ),
  ),
  "kiunet": Row(
    dict(widths=(4, 6), ki_widths=(3,), published_extras=2),
    (
      Count(290_658, classes=2, options=dict(published_extras=64)),
      # Res-KiU-Net (`reskiunet`) and Dense-KiU-Net (`densekiunet`) of the same repository
      Count(302_162, classes=2, channels=3, options=dict(published_extras=64, block="residual")),
      Count(488_634, classes=2, channels=3, options=dict(published_extras=64, block="dense")),
      # Ki-Net alone (`kitenet`), U-Net alone (`unet`), 3D (`kiunet3d`) of the same repository
      Count(185_506, classes=2, options=dict(KITENET, branches="ki", widths=(32, 64, 128))),
      Count(
        3_136_354,
        classes=2,
        channels=3,
        options=dict(KITENET, branches="u", widths=(32, 64, 128, 256, 512)),
      ),
      Count(2_850, classes=5, channels=4, rank=3, options=kiunet3d(4, 1)),
      Count(2_217_730, classes=2, channels=1, rank=3, options=kiunet3d(1, 32)),
    ),
    silent=(
      "*/conv/bias",  # convolutions before batch norm
      "unused_crfb/*",  # counted by the public code, used by nothing
    ),
  ),
  "plain_conv_unet": Row(
    dict(widths=(4, 6, 8), depth=1, decoder_depth=1),
    # dynamic_network_architectures' PlainConvUNet, all of its heads, for plans of nnU-Net 2.8.1
    (
      Count(5_603_177, rank=3, options=dict(widths=HIPPOCAMPUS)),
      Count(1_928_489, rank=2, options=dict(widths=HIPPOCAMPUS)),
      Count(30_750_969, classes=5, rank=3, options=ABDOMEN_MR),
    ),
    silent=("*/conv/bias",),  # instance norm takes it away
  ),
  "resenc_unet": Row(
    dict(widths=(4, 6), depth=1),
    # dynamic_network_architectures' ResidualEncoderUNet, all of its heads, for nnU-Net's M plans
    (
      Count(25_895_593, rank=3, options=dict(widths=HIPPOCAMPUS)),
      Count(8_728_681, rank=2, options=dict(widths=HIPPOCAMPUS)),
    ),
    silent=("*/conv/bias",),  # instance norm takes it away
  ),
  "mednext": Row(
    dict(widths=(4, 6), blocks=1, expansion=2),
    # MIC-DKFZ/MedNeXt's create_mednext_v1 of size S less its dummy; the others: test_mednext.py
    (
      Count(5_550_947, rank=3, options=dict(deep_supervision=0)),
      Count(5_474_927),
    ),
    # instance norm takes it away
    silent=("*/depthwise/bias",),
  ),
  "segresnet": Row(
    dict(widths=(4, 6), depth=1, norm_groups=2),
    # MONAI's SegResNet(3, 8, 1, 2), the same in 2D, SegResNet(3, 32, 4, 3)
    (
      Count(1_176_186, classes=2, rank=3),
      Count(394_986, classes=2),
      Count(18_798_627, channels=4, rank=3, options=dict(widths=(32, 64, 128, 256))),
    ),
  ),
  "ssl4mis_unet": Row(
    dict(widths=(4, 6, 8), dropout=(0.0, 0.1, 0.2)),
    (
      Count(1_813_764, classes=4),
      Count(2_447_064, classes=4, options=dict(second_decoder=0.5)),
    ),
    silent=("*/conv/bias",),  # batch norm takes it away
  ),
  "hyper_densenet": Row(
    dict(widths=(3, 4, 5), head=(6, 4), dropout=0.1),
    # the layout of the authors' PyTorch release, for two and for three modalities
    (
      Count(10_361_922, classes=4, channels=2, rank=3),
      Count(23_173_431, classes=4, channels=3, rank=3, options=dict(padding="valid")),
    ),
  ),
  "decision_fusion": Row(
    dict(fusion="learned", member=dict(name="unet", widths=(4, 6), depth=1, decoder_depth=1)),
    # two and three of the survey's Baseline, and a weight for each class of each
    (
      Count(2 * 22_720_640, channels=2),
      Count(3 * 22_720_640 + 9, channels=3, options=dict(fusion="learned")),
    ),
  ),
  "attention_fusion": Row(dict(widths=(4, 6), depth=1, hidden=8, mlp=8, heads=2)),
  "pnet": Row(
    dict(features=4, depth=1, dilations=(1, 2), compress=2, dropout=0.0),
    # 9 * 64 (1 + 12 * 64) + 13 * 64, then 320 * 64 + 64 and 64 * 2 + 2
    (Count(464_450, classes=2),),
  ),
  "scribble_unet": Row(dict(widths=(4, 6)), (Count(3_991_882, classes=1, channels=5),)),
}
