"""Networks that make images: (b, *space, channels) -> {"image": ..., features}; or label maps."""

from jaxseg.networks.generators.feature_decoder import FeatureDecoder
from jaxseg.networks.generators.mask_generator import MaskEncoder, MaskGenerator
from jaxseg.networks.generators.resnet_generator import ResnetGenerator
from jaxseg.networks.generators.spade_generator import SPADEGenerator
from jaxseg.networks.generators.unet_generator import UNetGenerator

# config name -> network: a new generator is a new row
GENERATORS = {
  "resnet_generator": ResnetGenerator,
  "unet_generator": UNetGenerator,
  "spade_generator": SPADEGenerator,
  "mask_generator": MaskGenerator,
  "mask_encoder": MaskEncoder,
}
# what makes an image of another network's features, and of the image that they are of
DECODERS = {"feature_decoder": FeatureDecoder}

__all__ = [
  "DECODERS",
  "GENERATORS",
  "FeatureDecoder",
  "MaskEncoder",
  "MaskGenerator",
  "ResnetGenerator",
  "SPADEGenerator",
  "UNetGenerator",
]
