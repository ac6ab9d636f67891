"""nnU-Net's whole augmentation as the named sub-dicts of a config."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.augment.order import AUGMENTATIONS


def nnunet(
  rank: int,
  patch: Sequence[int],
  *,
  masked: bool = False,
  cascade: bool = False,
  mirror: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
  """What nnU-Net augments a patch with; for `config.augment`.

  A volume whose longest side is more than three times its first is turned and scaled slice by
  slice ("dummy 2D"); a picture more than half again as long as wide turns by 15 degrees at most.
  Where an axis isn't mirrored, or only with names that swap, pictures and slices turn by 30 degrees
  at most: a half turn mirrors two axes.

  Args:
    rank: 2 or 3.
    patch: what the network is fed.
    masked: whether images were normalised inside their nonzero mask, outside of which they are
      set to 0 again.
    mirror: options of `augment.mirror`, as a plan has them (`planning.settings`); all axes if it is
      None.
    cascade: whether the network is given a `prior`, whose mistakes are imitated.

  Returns:
    name -> options, in their order; a name's defaults are nnU-Net's numbers.

  Source: nnU-Net (arXiv 1809.10486), version 2.
  """
  if rank not in (2, 3) or len(patch) != rank or min(patch) < 1:
    raise ValueError(
      f"augmentation: rank {rank} with patch {tuple(patch)}; expected rank 2 or 3 and as many "
      "positive sizes."
    )
  flat = rank == 3 and max(patch) / patch[0] > 3
  if rank == 2:
    rotation = 15.0 if max(patch) / min(patch) > 1.5 else 180.0
  else:
    rotation = 180.0 if flat else 30.0
  mirror = dict(mirror or {})
  turned = range(rank)[-2:]
  if mirror.get("swap_axis") in turned or not set(turned) <= set(mirror.get("axes", turned)):
    rotation = min(rotation, 30.0)
  names = {"spatial", "noise", "blur", "brightness", "contrast", "low_resolution"}
  names |= {"gamma_inverted", "gamma", "mirror"}
  if masked:
    names |= {"find_body", "mask_body"}
  if cascade:
    names |= {"prior_morphology", "prior_components"}
  options = {
    "spatial": {"rotation": rotation, "axes": "inplane" if flat else "all", "label": "majority"},
    "mirror": mirror,
  }
  if flat:
    options["low_resolution"] = {"axes": (1, 2)}
  return {name: options.get(name, {}) for name in AUGMENTATIONS if name in names}
