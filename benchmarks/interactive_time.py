"""What an answer to a click takes, warm, beside the same forward pass alone."""

import pathlib
import statistics
import tempfile
import time

import jax
import numpy as np

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.build import plain
from jaxseg.compose import complete, layout_of_windows, method, networks_by_role, window
from jaxseg.config.file import load_config
from jaxseg.data import RawCase
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.interaction import session
from jaxseg.runs.folder import CONFIG, Described
from jaxseg.runs.interactive import Run, as_run
from jaxseg.runs.load import Opened

LABELS = LabelSpec(("background", "object"), (0, 1))
# what is timed: the patch, and the config
SIZES = {
  "256x256": ((256, 256), "configs/interactive.py:ritm,data=sunnybrook_lv,protocol=cpu"),
  "64^3": ((64, 64, 64), "configs/interactive.py:ritm,data=msd_hippocampus,protocol=cpu"),
}
ANSWERS = 15


def rows(sizes=SIZES, answers: int = ANSWERS) -> dict[str, dict]:
  """Size -> seconds of an answer and of the forward pass alone, medians, and the overhead."""
  return {
    name: measured(made_run(config, patch), patch, answers)
    for name, (patch, config) in (sizes.items())
  }


def made_run(config, patch) -> Run:
  """A config's network with random weights, for patches of that size, as a run answers."""
  config = plain(load_config(config)) if isinstance(config, str) else config
  config = complete({**config, "data": {**config["data"], "patch": patch, "slices": None}})
  rank = len(patch)
  nets = networks_by_role(config, LABELS.channels)
  net = nets["network"]
  layout = layout_of_windows(config, net, jax.local_devices()[:1])
  scheme = method(config, nets, layout=layout)
  image = np.zeros((1, *patch, 1), np.float32)
  state = jax.jit(scheme.init)(jax.random.key(0), {"image": image})
  told = Described(
    config, LABELS, ("image",), rank, Preparation(("image",), rank, ({"name": "none"},))
  )
  predict = window(config, net, patch, None)
  with tempfile.TemporaryDirectory() as folder:
    # all that is asked of a run's folder: whether what lies there was checked
    files.write_json(pathlib.Path(folder, CONFIG), {})
    states = {pathlib.Path(folder): state}
    return as_run(
      Opened([told], net, scheme, predict, layout, states, (told.preparation,), [0], {})
    )


def measured(run: Run, patch, answers: int) -> dict:
  """Medians over answers to clicks on one window, forward passes in between."""
  rng = np.random.default_rng(0)
  image = rng.normal(size=(*patch, 1)).astype(np.float32)
  scan = run.scan(RawCase(image, None, None, plain_geometry(patch)))
  seen = []
  listening = run._replace(apply=lambda batch: seen.append(batch) or run.apply(batch))
  state = session.start(scan, automatic=False)
  session.add(
    listening.scan(RawCase(image, None, None, plain_geometry(patch))), state, _click(rng, patch)
  )
  batch = seen[-1]
  alone, together = [], []
  for _ in range(answers + 1):
    began = time.perf_counter()
    np.asarray(run.apply(batch)["logits"])
    alone.append(time.perf_counter() - began)
    began = time.perf_counter()
    state = session.add(scan, state, _click(rng, patch))
    together.append(time.perf_counter() - began)
  # the first of each compiles
  answer, forward = statistics.median(together[1:]), statistics.median(alone[1:])
  return {
    "answer": answer,
    "forward": forward,
    "overhead": answer / forward - 1,
    "longest": max(together[1:]),
    "answers": answers,
  }


def _click(rng, patch) -> dict:
  return {"class": int(rng.integers(2)), "point": [int(rng.integers(n)) for n in patch]}
