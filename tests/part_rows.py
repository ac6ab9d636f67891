"""The table of `unet`'s parts: adding a part, or a variant of one, is adding a row."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class PartRow(NamedTuple):
  """What the contract tests need to know of a part.

  Attributes:
    option: of `unet`.
    spec: its value: a name, or a dict with the part's own options.
    rank: spatial axes of the input.
  """

  option: str
  spec: str | Mapping[str, Any]
  rank: int = 2

  @property
  def name(self) -> str:
    return self.spec if isinstance(self.spec, str) else self.spec["name"]

  def __str__(self) -> str:
    variant = () if isinstance(self.spec, str) else self.spec.values()
    return "-".join((self.option, *map(str, variant or (self.spec,))))


PARTS = (
  PartRow("block", "plain"),
  *(PartRow("block", dict(name="p3d", kind=kind), rank=3) for kind in "ABC"),
  PartRow("block", dict(name="recurrent", t=1)),
  *(PartRow("block", dict(name="residual", kind=kind)) for kind in ("basic", "bottleneck")),
  *(
    PartRow("block", dict(name="inception", kind=kind))
    for kind in ("naive", "v1", "factorised", "residual")
  ),
  PartRow("block", "multires"),
  PartRow("block", "hdc"),
  PartRow("block", "dense"),
  PartRow("conv", "plain"),
  PartRow("conv", "separable"),
  PartRow("conv", "dsts", rank=3),
  PartRow("attention", "none"),
  PartRow("attention", "graph_reasoning"),
  PartRow("attention", "se"),
  # more than the one hidden unit of a reduction by 16, whose ReLU may be off
  *(
    PartRow("attention", dict(name="cbam", reduction=2, order=order))
    for order in (("channel", "spatial"), ("channel",), ("spatial",))
  ),
  *(PartRow("attention", dict(name="scse", aggregation=how)) for how in ("max", "add")),
  PartRow("attention", "nonlocal"),
  PartRow("bottleneck", "none"),
  *(
    PartRow("bottleneck", dict(name="nonlocal", mode=mode))
    for mode in ("gaussian", "embedded", "dot")
  ),
  PartRow("bottleneck", "graph_reasoning"),
  PartRow("bottleneck", "graph_unet"),
  PartRow("bottleneck", "glca"),
  PartRow("bottleneck", dict(name="ppm", bins=(1, 2))),
  PartRow("bottleneck", dict(name="aspp", rates=(1, 2))),
  PartRow("bottleneck", "hdc"),
  PartRow("bottleneck", dict(name="gce", rates=(1, 2))),
  PartRow("bottleneck", "dac"),
  PartRow("bottleneck", dict(name="rmp", pools=(2, 3))),
  PartRow("bottleneck", dict(name="dac_rmp", pools=(2, 3))),
  PartRow("skip", "concat"),
  PartRow("skip", "sum"),
  PartRow("skip", "attention_gate"),
  PartRow("skip", "grid_gate"),
  PartRow("skip", "conv_lstm"),
  PartRow("skip", "respath"),
)
