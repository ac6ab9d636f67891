"""Networks that make images: (b, *space, channels) -> {"image": ..., features}."""

from jaxseg.networks.generators.resnet_generator import ResnetGenerator

# config name -> network: a new generator is a new row
GENERATORS = {
  "resnet_generator": ResnetGenerator,
}

__all__ = ["GENERATORS", "ResnetGenerator"]
