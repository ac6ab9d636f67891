"""Training schemes: who is trained against what."""

from jaxseg.methods import averaged, supervised

METHODS = {
  "supervised": supervised.supervised,
}

__all__ = ["METHODS", "averaged", "supervised"]
