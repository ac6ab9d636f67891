"""The cases of another source, their images translated by a trained run: CycleGAN's first stage."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxseg.build import build
from jaxseg.data.sources.source import RawCase, Source, check_image, fingerprint


def translated(*, source: Mapping[str, Any], run: str) -> Source:
  """Cases whose labels are a source's and whose images a run has made of that source's.

  CT's labels on images that look like MR, for `supervised` to learn MR from. An image is made of
  the whole case, on its own grid. The run's weights are a part of the fingerprint, so that
  another generator's images are prepared anew.

  Args:
    source: of the cases, dict(name="nnunet_raw", path=...).
    run: folder of a run that makes images of images, as of the method "cyclegan", trained to its
      end on images with the source's channels.

  Raises:
    FileNotFoundError, ValueError: see `runs.translator`, and what the source raises.
  """
  # what reads run folders builds on sources
  from jaxseg.data import SOURCES
  from jaxseg.runs.translator import translator

  inner = build(SOURCES, source, "data.source.source")
  if inner.incomplete:
    case, lacking = min(inner.incomplete.items())
    raise ValueError(
      f"config.data.source.source: case '{case}' lacks {', '.join(lacking)}, and images are made "
      "of all channels; leave such cases out (incomplete=False names them)."
    )
  made = translator(run, inner)

  def read(case: str) -> RawCase:
    raw, where = inner.read(case), f"the translated image of case '{case}'"
    image = np.asarray(made.image(raw, where), np.float32)
    check_image(image, where, channels=len(made.channels), rank=inner.rank)
    return raw._replace(image=image)

  return inner._replace(
    name=f"{inner.name}_translated",
    channels=made.channels,
    read=read,
    fingerprint=fingerprint((), {"of": inner.fingerprint, "by": made.digest}),
  )
