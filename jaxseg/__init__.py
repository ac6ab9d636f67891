"""jaxseg: medical image segmentation in JAX."""

from jaxseg import xla_flags

__version__ = "0.1.0"

xla_flags.add(xla_flags.CPU)
xla_flags.add(xla_flags.CPU_LOOPS)
