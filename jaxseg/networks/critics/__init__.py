"""Networks that judge: (b, *space, channels) -> {"score": ..., features}."""

# config name -> network: a new critic is a new row
CRITICS = {}

__all__ = ["CRITICS"]
