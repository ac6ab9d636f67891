"""Networks that make images: (b, *space, channels) -> {"image": ..., features}."""

# config name -> network: a new generator is a new row
GENERATORS = {}

__all__ = ["GENERATORS"]
