"""Segmentation networks: one architecture per file, 2D and 3D from one source."""

from jaxseg.networks.attention_fusion import AttentionFusion
from jaxseg.networks.attention_unet import AttentionUNet
from jaxseg.networks.attention_unet_dsv import AttentionUNetDSV
from jaxseg.networks.bcdunet import BCDUNet
from jaxseg.networks.bdclstm import BDCLSTM
from jaxseg.networks.blocks.hdc import check_hdc
from jaxseg.networks.cell_unet import CellSupernet, CellUNet
from jaxseg.networks.cenet import CENet
from jaxseg.networks.critics import CRITICS
from jaxseg.networks.decision_fusion import DecisionFusion
from jaxseg.networks.deepbet import DeepBet
from jaxseg.networks.deepbrain import DeepBrain
from jaxseg.networks.deeplabv3 import DeepLabV3
from jaxseg.networks.dense_unet3d import DenseUNet3D
from jaxseg.networks.dense_unet161 import DenseUNet161
from jaxseg.networks.detect_then_segment import DetectThenSegment
from jaxseg.networks.dints import Dints, DintsSupernet
from jaxseg.networks.encoder_unet import EncoderUNet
from jaxseg.networks.encoder_unetpp import EncoderUNetPP
from jaxseg.networks.encoders import ENCODERS
from jaxseg.networks.fc_densenet import FCDenseNet
from jaxseg.networks.generators import DECODERS, GENERATORS
from jaxseg.networks.h_denseunet import HDenseUNet
from jaxseg.networks.hrnet_ocr import HRNetOCR
from jaxseg.networks.hyper_densenet import HyperDenseNet
from jaxseg.networks.kiunet import KiUNet
from jaxseg.networks.linknet import LinkNet
from jaxseg.networks.lw_hcn import LWHCN
from jaxseg.networks.mednext import MedNeXt, upkern
from jaxseg.networks.multiresunet import MultiResUNet
from jaxseg.networks.nonlocal_unet import NonLocalUNet
from jaxseg.networks.plain_conv_unet import PlainConvUNet
from jaxseg.networks.pnet import PNet
from jaxseg.networks.posterior_cascade import PosteriorCascade
from jaxseg.networks.pseudo3d import Pseudo3D
from jaxseg.networks.pspnet import PSPNet
from jaxseg.networks.r2unet import R2UNet
from jaxseg.networks.recurrent_saliency import RecurrentSaliency
from jaxseg.networks.resenc_unet import ResEncUNet
from jaxseg.networks.resnet_segmenter import ResnetSegmenter
from jaxseg.networks.scribble_unet import ScribbleUNet
from jaxseg.networks.segresnet import SegResNet
from jaxseg.networks.shape_attentive import ShapeAttentive
from jaxseg.networks.ssl4mis_unet import SSL4MISUNet
from jaxseg.networks.swin_unetr import SwinUNETR
from jaxseg.networks.triplanar import Triplanar
from jaxseg.networks.unet import UNet
from jaxseg.networks.unet3d import UNet3D
from jaxseg.networks.unet2015 import UNet2015
from jaxseg.networks.unetpp import UNetPP, prune
from jaxseg.networks.unetr import UNETR
from jaxseg.networks.vnet import VNet

# config name -> network: a new network is a new row
NETWORKS = {
  "unet": UNet,
  "unet2015": UNet2015,
  "unet3d": UNet3D,
  "vnet": VNet,
  "posterior_cascade": PosteriorCascade,
  "recurrent_saliency": RecurrentSaliency,
  "detect_then_segment": DetectThenSegment,
  "lw_hcn": LWHCN,
  "pseudo3d": Pseudo3D,
  "triplanar": Triplanar,
  "r2unet": R2UNet,
  "bcdunet": BCDUNet,
  "bdclstm": BDCLSTM,
  "fc_densenet": FCDenseNet,
  "dense_unet161": DenseUNet161,
  "dense_unet3d": DenseUNet3D,
  "h_denseunet": HDenseUNet,
  "unetpp": UNetPP,
  "multiresunet": MultiResUNet,
  "kiunet": KiUNet,
  "encoder_unet": EncoderUNet,
  "encoder_unetpp": EncoderUNetPP,
  "pspnet": PSPNet,
  "deeplabv3": DeepLabV3,
  "cenet": CENet,
  "attention_unet": AttentionUNet,
  "attention_unet_dsv": AttentionUNetDSV,
  "nonlocal_unet": NonLocalUNet,
  "plain_conv_unet": PlainConvUNet,
  "resenc_unet": ResEncUNet,
  "mednext": MedNeXt,
  "segresnet": SegResNet,
  "ssl4mis_unet": SSL4MISUNet,
  "unetr": UNETR,
  "swin_unetr": SwinUNETR,
  "linknet": LinkNet,
  "deepbrain": DeepBrain,
  "deepbet": DeepBet,
  "resnet_segmenter": ResnetSegmenter,
  "hyper_densenet": HyperDenseNet,
  "decision_fusion": DecisionFusion,
  "attention_fusion": AttentionFusion,
  "shape_attentive": ShapeAttentive,
  "hrnet_ocr": HRNetOCR,
  "pnet": PNet,
  "scribble_unet": ScribbleUNet,
  "cell_unet": CellUNet,
  "dints": Dints,
}

# config name -> all architectures of a space in one, which methods of search train
SUPERNETS = {
  "cell_supernet": CellSupernet,
  "dints_supernet": DintsSupernet,
}

__all__ = [
  "BDCLSTM",
  "CRITICS",
  "DECODERS",
  "ENCODERS",
  "GENERATORS",
  "LWHCN",
  "NETWORKS",
  "SUPERNETS",
  "UNETR",
  "AttentionFusion",
  "AttentionUNet",
  "AttentionUNetDSV",
  "BCDUNet",
  "CENet",
  "CellSupernet",
  "CellUNet",
  "DecisionFusion",
  "DeepBet",
  "DeepBrain",
  "DeepLabV3",
  "DenseUNet3D",
  "DenseUNet161",
  "DetectThenSegment",
  "Dints",
  "DintsSupernet",
  "EncoderUNet",
  "EncoderUNetPP",
  "FCDenseNet",
  "HDenseUNet",
  "HRNetOCR",
  "HyperDenseNet",
  "KiUNet",
  "LinkNet",
  "MedNeXt",
  "MultiResUNet",
  "NonLocalUNet",
  "PNet",
  "PSPNet",
  "PlainConvUNet",
  "PosteriorCascade",
  "Pseudo3D",
  "R2UNet",
  "RecurrentSaliency",
  "ResEncUNet",
  "ResnetSegmenter",
  "SSL4MISUNet",
  "ScribbleUNet",
  "SegResNet",
  "ShapeAttentive",
  "SwinUNETR",
  "Triplanar",
  "UNet",
  "UNet3D",
  "UNet2015",
  "UNetPP",
  "VNet",
  "check_hdc",
  "prune",
  "upkern",
]
