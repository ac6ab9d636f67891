"""Options that make published networks of ours, for the table of networks."""

from jaxseg.search import genotypes

# AGN's unet_grid_attention_3D: one gating signal for all skips but the first
ATTENTION_UNET_AGN = {
  "widths": (16, 32, 64, 128, 256),
  "kernels": ((1, 3, 3),) * 5,
  "strides": ((1, 2, 2),) * 4,
  "up": {"name": "transpose", "kernels": ((1, 4, 4),) * 4},
  "skip": ("concat", *(dict(name="grid_gate", sub_sample=2),) * 3),
  "gating": "centre",
}
# pytorch-3dunet's UNet3D, by the options of ours: group norm, then convolution, then ReLU ("gcr")
GCR = {
  "padding": "same",
  "up": "nearest",
  "norm": "group",
  "norm_first": True,
  "conv_bias": False,
}
# the PyTorch ports' V-Net: convolutions per stage of the authors' Caffe model, batch norm, ELU,
# activated before the residual sum too
VNET_PORT = {
  "depth": (1, 1, 2, 3, 2),
  "decoder_depth": (1, 1, 2, 2),
  "norm": "batch",
  "activation": "elu",
  "activate_branch": True,
  "output_kernel": 5,
}

# the public code's Ki-Net has no norm and no 1x1 convolution
KITENET = dict(norm="none", head=False, skip=False)


def kiunet3d(channels, n):
  """Options of the public code's 3D KiU-Net of width n."""
  return dict(
    widths=(n, 2 * n, 4 * n),
    ki_widths=(n, 2 * n, 2 * n),
    decoder_widths=(channels, 2 * n, 2 * n),
    norm="none",
    conv_bias=False,
    head_bias=False,
    published_extras=n,
  )


# nnU-Net's plans: widths of MSD hippocampus, an anisotropic 3D plan
HIPPOCAMPUS = (32, 64, 128, 256)
ABDOMEN_MR = {
  "kernels": ((1, 3, 3), (1, 3, 3), 3, 3, 3, 3),
  "strides": ((1, 2, 2), (1, 2, 2), 2, 2, 2),
}

# a narrow ResNet: features at strides 2 and 4
TINY_RESNET = {"name": "resnet18", "blocks": (1,), "width": 4}
# segmentation_models.pytorch's PSPNet pools the second stage; the others are counted
PSPNET_SMP = {
  "encoder": "resnet34",
  "output_stride": 32,
  "level": 2,
  "norm_of_one": "none",
  "join_kernel": 1,
  "head_kernel": 3,
  "aux": False,
}

# MONAI's AttentionUnet: its decoder has the norm and activation that are MONAI's defaults
ATTENTION_UNET_MONAI = {
  "widths": (16, 32, 64, 128),
  "down": "stride",
  "up": {"name": "transpose", "kernels": 3, "norm": True},
  "decoder_depth": 1,
  "block": {
    "decoder": {"name": "plain", "norm": "instance", "affine": False, "activation": "prelu_shared"}
  },
}

# NAS-UNet's derived networks, to be counted as its code counts them
NAS_UNET = dict(genotype=genotypes.PUBLISHED["nas_unet_v2"], depth=5, unused_norms=True)


def dints_genotype(operation: str) -> dict:
  """Two blocks of two resolutions that use every kind of path."""
  first = [[0, operation], [2, "skip"]]
  second = [[0, operation], [1, "skip"], [3, operation]]
  return {"space": "dints", "depths": 2, "blocks": [first, second]}
