"""Where a network is unsure: entropy, and what several answers disagree about."""

from collections.abc import Iterable

import numpy as np

from jaxseg.batch import Array
from jaxseg.networks.blocks.posterior import posterior


def probabilities(logits: Array, regions: bool) -> np.ndarray:
  """(*space, k) logits -> probabilities of classes, or of each region, float32."""
  logits = np.asarray(logits, np.float32)
  return np.asarray(posterior(logits[None], "sigmoid" if regions else "softmax"))[0]


def entropy(shares: Array, regions: bool) -> np.ndarray:
  """Entropy of probabilities (*space, k) -> (*space), 0 (sure) to 1 (all alike).

  Of classes over that of a uniform choice; of regions the mean of their binary ones.
  """
  shares = np.asarray(shares, np.float64)
  if regions:
    return (_plogp(shares) + _plogp(1 - shares)).mean(-1) / np.log(2)
  return _plogp(shares).sum(-1) / np.log(max(shares.shape[-1], 2))


def _plogp(p: np.ndarray) -> np.ndarray:
  return -p * np.log(np.maximum(p, 1e-30))


def disagreement(answers: Iterable[Array], regions: bool) -> dict[str, np.ndarray]:
  """What several answers, (*space, k) logits each, say together; (*space) each.

  - "entropy": of the mean probabilities, all that is uncertain;
  - "mutual_information": that less the answers' mean own entropy: what they disagree about (Gal,
    Islam, Ghahramani, arXiv 1703.02910);
  - "deviation": standard deviation of the probabilities, of the class where it is largest.

  Raises ValueError for fewer than two.
  """
  count, total, square, own = 0, 0.0, 0.0, 0.0
  for logits in answers:
    shares = probabilities(logits, regions).astype(np.float64)
    count, total, square = count + 1, total + shares, square + shares**2
    own = own + entropy(shares, regions)
  if count < 2:
    raise ValueError(f"disagreement: {count} answer(s); expected two or more.")
  mean = total / count
  both = entropy(mean, regions)
  return {
    "mutual_information": np.maximum(both - own / count, 0),
    "entropy": both,
    "deviation": np.sqrt(np.maximum(square / count - mean**2, 0)).max(-1),
  }
