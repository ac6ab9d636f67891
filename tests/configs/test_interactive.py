"""The configs of interactive methods: every row is complete, its network takes its prompts."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import pytest

from jaxseg import compose
from jaxseg.build import plain
from jaxseg.interaction import encoding

ROOT = pathlib.Path(__file__).parents[2]
TABLE = runpy.run_path(str(ROOT / "configs" / "interactive.py"))
TASKS = runpy.run_path(str(ROOT / "configs" / "interactive_medscribble.py"))
ROWS = [
  (method, data, protocol)
  for method in TABLE["METHODS"]
  for data in TABLE["DATA"]
  for protocol in TABLE["PROTOCOLS"]
  if (data, method) not in TABLE["WITHOUT"]
]


def made(words):
  return plain(TABLE["get_config"](words))


@pytest.mark.parametrize(("method", "data", "protocol"), ROWS)
def test_every_row_is_a_config_whose_networks_take_what_its_user_marks(method, data, protocol):
  config = compose.complete(made(f"{method},data={data},protocol={protocol}"))
  classes = 3 if data == "msd_hippocampus" else 2
  nets = compose.networks_by_role(config, classes)
  scheme = compose.method(config, nets)
  patch = config["data"]["patch"]
  batch = {"image": jax.ShapeDtypeStruct((1, *patch, 1), jnp.float32)}
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(scheme.init, key, batch)
  assert jax.eval_shape(scheme.apply, state, batch)["logits"].shape == (1, *patch, classes)


def test_short_and_published_rows_show_the_same_kinds_of_prompts():
  for method, prompts in TABLE["SMALL_MAPS"].items():
    small = encoding.encoding_of(prompts)
    module = __import__(f"jaxseg.methods.{method}", fromlist=["PROMPTS"])
    whole = encoding.encoding_of(module.PROMPTS)
    assert (small.fields, small.kinds, small.previous) == (
      whole.fields,
      whole.kinds,
      whole.previous,
    )
    assert encoding.channels(small, 2) == encoding.channels(whole, 2)


def test_a_task_of_medscribble_validates_alone():
  config = plain(TASKS["get_config"]("ritm,without=stare"))
  assert config["data"]["split"]["validation"] == TASKS["CASES"]["stare"]
  assert sum(len(names) for names in TASKS["CASES"].values()) == 28
  assert config["method"]["name"] == "ritm"


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ("ritn", "did you mean 'ritm'"),
    ("ritm,data=bussi", "data=bussi: expected one of .*did you mean 'busi'"),
    ("ritm,protocol=gpu", "protocol=gpu: expected one of cpu, published"),
    ("scribbleprompt,data=msd_hippocampus", "not tried on volumes"),
  ],
)
def test_what_there_is_not_is_refused(words, message):
  with pytest.raises(ValueError, match=message):
    TABLE["get_config"](words)
