"""What processes of a run tell each other beside their sums: through JAX's coordination service.

It needs no device, and waits as long as it takes: a collective operation would time out while the
first process prepares data for an hour.
"""

import hashlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import jax

# milliseconds: a process that dies is noticed by its heartbeat, not here
_LONG = 7 * 24 * 3600 * 1000
_rounds = itertools.count()


def on_first(work: Callable[[], Any]) -> Any:
  """Does what one process alone must do, on the first; all return its value, or raise its error.

  Args:
    work: () -> plain data for JSON.
  """
  if jax.process_count() == 1:
    return work()
  key = f"jaxseg/{next(_rounds)}/first"
  if jax.process_index():
    message = json.loads(_client().blocking_key_value_get(key, _LONG))
    if message["error"] is not None:
      raise ValueError(message["error"])
    return message["value"]
  value = error = None
  try:
    value = work()
  except Exception as caught:  # whatever it is: the others wait to be told
    error = caught
  message = {"value": value, "error": None if error is None else str(error)}
  _client().key_value_set(key, json.dumps(message))
  if error is not None:
    raise error
  return json.loads(json.dumps(value))


def first_then_all(work: Callable[[], Any]) -> Any:
  """Does the same on every process, on the first before the others: they find what it has made."""
  if jax.process_count() == 1:
    return work()
  made = []
  on_first(lambda: made.append(work()))
  return made[0] if made else work()


def together(work: Callable[[], None]) -> None:
  """Does the same on every process; where one of them fails, all raise, and none waits for it."""
  if jax.process_count() == 1:
    work()
    return
  error = None
  try:
    work()
  except Exception as caught:  # whatever it is: the others wait to be told
    error = caught
  failed = [i for i, fine in enumerate(_gather(error is None)) if not fine]
  if error is not None:
    raise error
  if failed:
    raise ValueError(f"process {failed[0]} of this run failed, see its output; this one stops too.")


def alike(value: Any, difference: Callable[[Any, Any], str]) -> None:
  """Raises ValueError on all processes unless they agree.

  Args:
    value: plain data for JSON.
    difference: (of the first process, of this one) -> how they differ; "" where they agree.
  """
  if jax.process_count() == 1:
    return
  text = json.dumps(value, sort_keys=True)
  # what is told of ten thousand cases is long, and nearly always alike
  if len(set(_gather(hashlib.sha256(text.encode()).hexdigest()))) == 1:
    return
  how = difference(on_first(lambda: value), json.loads(text))
  others = {number: words for number, words in enumerate(_gather(how)) if words}
  if others:
    number, words = next(iter(others.items()))
    more = f" (so do {len(others) - 1} more)" if len(others) > 1 else ""
    raise ValueError(
      f"process {number} of this run differs from process 0{more}: {words}; expected the same "
      "command, code and data for all; processes that shall train apart need JAXSEG_CLUSTER=none."
    )


def _gather(value: Any) -> list[Any]:
  """The values of all processes, on each of them."""
  number, client = next(_rounds), _client()
  own, count = jax.process_index(), jax.process_count()
  key = f"jaxseg/{number}"
  if own:
    client.key_value_set(f"{key}/{own}", json.dumps(value))
    return json.loads(client.blocking_key_value_get(f"{key}/all", _LONG))
  values = [value]
  for other in range(1, count):
    values.append(json.loads(client.blocking_key_value_get(f"{key}/{other}", _LONG)))
    client.key_value_delete(f"{key}/{other}")
  client.key_value_set(f"{key}/all", json.dumps(values))
  return json.loads(json.dumps(values))


def _client():
  # jax.distributed has no name for it; Orbax takes it from here too
  from jax._src import distributed

  return distributed.global_state.client
