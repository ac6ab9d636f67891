"""Segmentation networks: one architecture per file, 2D and 3D from one source."""

from jaxseg.networks.unet import UNet

# config name -> network: a new network is a new row
NETWORKS = {"unet": UNet}

__all__ = ["NETWORKS", "UNet"]
