"""A run that answers at random, as a session takes it."""

import numpy as np

from jaxseg.interaction import session

SPACE = (24, 20)


def made_scan(names=("background", "organ"), *, space=SPACE, seed=0, **changes):
  """A run that answers at random, in a window around what is new."""
  rng = np.random.default_rng(seed)

  def answer(turns, before):
    middle = np.mean([np.mean(list(p.values())[1], 0) for p in turns[-1]], 0).astype(int)
    region = tuple(slice(max(m - 7, 0), m + 7) for m in middle)
    shape = tuple(len(range(*s.indices(n))) for s, n in zip(region, space, strict=True))
    region = tuple(slice(*s.indices(n)[:2]) for s, n in zip(region, space, strict=True))
    return region, rng.normal(size=(*shape, len(names))).astype(np.float32) * 3

  scan = session.Scan(
    space=space,
    own_space=space,
    names=names,
    values=tuple(range(0, 10 * len(names), 10)),
    radius=4.0,
    kinds=("point", "box", "stroke"),
    automatic=lambda: rng.normal(size=(*space, len(names))).astype(np.float32),
    place=lambda prompt, where: prompt,
    answer=answer,
    on_network=lambda mask: mask,
    decode=lambda logits: logits.argmax(-1).astype(np.int32),
  )
  return scan._replace(**changes)
