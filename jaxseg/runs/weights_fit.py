"""Whether weights from elsewhere fit a network: what they have otherwise, lack, have too much."""

from collections.abc import Collection, Iterable, Sequence

from jaxseg import paths
from jaxseg.interop.name_map import SHOWN, listed


def default(inside: str, own: Collection[str], words: str, where: str) -> dict[str, str]:
  """What is taken where a config doesn't say: all, or for the part `inside` a network.

  Raises ValueError for a network without that part.
  """
  if inside and not any(path.startswith(f"{inside}/") for path in own):
    raise ValueError(
      f"{where}: {words} is for a network's {inside}, and this one has none; expected one that is "
      "built on it, as config.network=dict(name='encoder_unet', encoder=...), or take={...} that "
      "says where they go."
    )
  return {f"{inside}/*": "*"} if inside else {"*": "*"}


def check(others: Sequence[tuple], missing: Sequence[str], source, where: str) -> None:
  """Raises ValueError, which `where` begins, that lists what differs in shape or is missing.

  `others` are own path, own shape, the source's path and shape; `source` is `initialise.Source`.
  """
  more = ", take={...} to leave it, or another network (config.network)"
  if others:
    shown = [
      f"'{path}' is {shape} here, '{there}' {theirs}" for path, shape, there, theirs in others
    ]
    several = f" (and {len(others) - SHOWN} more)" if others[SHOWN:] else ""
    flat = any(len(theirs) == len(shape) - 1 for _, shape, _, theirs in others)
    more = ", inflate='mean' for kernels of images in a network of volumes" * flat + more
    raise ValueError(
      f"{where}: {'; '.join(shown[:SHOWN])} in {source.words}{several}; expected shapes that "
      f"differ by the number of classes or input channels at most{more}."
    )
  if missing:
    raise ValueError(
      f"{where}: {source.words} has no {listed(missing)}, which this network has; it has "
      f"{tops(source.arrays)}; expected all of it{more}."
    )


def check_whole(left: Iterable[str], source, where: str) -> None:
  """Raises ValueError where a file holds more of a network than this one has, but a spare head."""
  left = [path for path in left if not paths.match(path, source.spare)]
  if left:
    whole = {f"{source.inside}/*" if source.inside else "*": "*"}
    raise ValueError(
      f"{where}: {source.words} has {listed(left)}, which this network lacks: it is of another "
      f"one; expected that (config.network), or take={whole} to leave what is too much."
    )


def tops(names: Iterable[str]) -> str:
  """The parts of a network that paths are of."""
  return ", ".join(dict.fromkeys(name.split("/")[0] for name in names)) or "nothing"
