"""Processes meet in words before JAX joins them: it ends with a stack trace where one is missing.

The first one listens where JAX's coordinator will; each other says who it is in a line of JSON, and
is answered in one when all are there, or when it is clear that they will not be.
"""

import errno
import json
import os
import platform
import socket
import sys
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

# seconds: between two tries; until it is said that others are waited for; to read a line
_PAUSE, _SILENCE, _LINE = 0.5, 10.0, 5.0
_HELLO, _ANSWER = ("process", "count", "host", "job", "versions"), ("problem",)
# bytes of a line
_LONGEST = 2**16


class Place(NamedTuple):
  """Which process of a run this is.

  Attributes:
    address: HOST:PORT of the first one.
    count, own: how many there are, and the number of this one.
    devices: of those visible, the ones that are its own; None leaves them to JAX.
  """

  address: str
  count: int
  own: int
  devices: tuple[int, ...] | None = None


def meet(place: Place, versions: Mapping[str, str], patience: float) -> None:
  """Returns when all processes are there; raises ValueError, a sentence, where they are not.

  Args:
    place: of this process.
    versions: package -> version, which must be the same everywhere.
    patience: seconds.
  """
  hello = {
    "process": place.own,
    "count": place.count,
    "host": platform.node(),
    "job": _job(),
    "versions": dict(versions),
  }
  deadline = time.monotonic() + patience
  if place.own == 0:
    _receive(place, hello, deadline, patience)
  else:
    _go(place, hello, deadline, patience)


def _job() -> str:
  """What tells two jobs apart that take the same port."""
  return ".".join(os.environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))


def _receive(place: Place, hello: dict, deadline: float, patience: float) -> None:
  """The first process's part."""
  present: dict[int, dict] = {}
  lines: list[socket.socket] = []
  problem, spoken = "", time.monotonic() + _SILENCE
  with _listening(place.address) as server:
    while len(present) < place.count - 1:
      now = time.monotonic()
      missing = _listed(sorted(set(range(1, place.count)) - set(present)))
      if now > deadline:
        problem = problem or (
          f"process {missing} of {place.count} did not come to {place.address} within "
          f"{patience:.0f} s; see why it did not start, whether the number of processes is right, "
          "and whether its machine reaches that port; JAXSEG_START_TIMEOUT waits longer"
        )
        break
      if now > spoken:
        print(f"Waiting at {place.address} for process {missing} ...", file=sys.stderr, flush=True)
        spoken = deadline
      server.settimeout(max(0.01, min(_PAUSE, deadline - now)))
      try:
        line, _ = server.accept()
      except TimeoutError:
        continue
      other = _read(line, _HELLO)
      # a scanner of ports, or a process of another job
      if other is None or other["job"] != hello["job"]:
        line.close()
        continue
      lines.append(line)
      if wrong := _problem(hello, other, present):
        # those that are on their way are told too
        problem, deadline = problem or wrong, min(deadline, now + _LINE)
      present.setdefault(other["process"], other)
    for line in lines:
      _write(line, {"problem": problem})
    for line in lines:
      # who hangs up first keeps the port from the next one for a while
      _read(line, ())
      line.close()
  if problem:
    raise ValueError(f"{problem}.")


def _problem(hello: dict, other: dict, present: Mapping[int, dict]) -> str:
  number, where = other["process"], f"process {other['process']} on {other['host']}"
  if other["count"] != hello["count"]:
    return (
      f"{where} is one of {other['count']} processes, process 0 on {hello['host']} one of "
      f"{hello['count']}; expected the same JAX_NUM_PROCESSES for all"
    )
  if number in present:
    return (
      f"there are two processes {number}, on {present[number]['host']} and on {other['host']}; "
      "expected numbers from 0 to "
      f"{hello['count'] - 1}, each once (JAX_PROCESS_ID)"
    )
  differing = [f"{name} {hello['versions'].get(name)}, {version}"
               for name, version in other["versions"].items()
               if hello["versions"].get(name) != version]  # fmt: skip
  if differing:
    return (
      f"process 0 on {hello['host']} and {where} have different versions "
      f"({'; '.join(differing)}); give all the same environment"
    )
  return ""


def _go(place: Place, hello: dict, deadline: float, patience: float) -> None:
  """The other processes' part."""
  host, port = split(place.address)
  reason, spoken = "", time.monotonic() + _SILENCE
  while True:
    left = deadline - time.monotonic()
    if left <= 0:
      raise ValueError(
        f"process {place.own} of {place.count} did not reach process 0 at {place.address} within "
        f"{patience:.0f} s ({reason or 'no answer'}); see whether process 0 runs there, whether "
        "the name and port are right and no firewall is between, and that no proxy is set; "
        "JAXSEG_START_TIMEOUT waits longer."
      )
    if time.monotonic() > spoken:
      print(f"Waiting for process 0 at {place.address} ...", file=sys.stderr, flush=True)
      spoken = deadline
    try:
      with socket.create_connection((host, port), timeout=min(left, _LINE)) as line:
        _write(line, hello)
        answer = _read(line, _ANSWER, max(left, _LINE) + _LINE)
    except OSError as error:
      reason, answer = error.strerror or str(error), None
    if answer is not None:
      if answer["problem"]:
        raise ValueError(f"{answer['problem']}.")
      return
    time.sleep(_PAUSE)


def _listening(address: str) -> socket.socket:
  host, port = split(os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", f"[::]:{split(address)[1]}"))
  both = host == "::" and socket.has_dualstack_ipv6()
  family = socket.AF_INET6 if ":" in host and (both or host != "::") else socket.AF_INET
  host = "" if host == "::" else host
  try:
    return socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=both)
  except OSError as error:
    busy = error.errno == errno.EADDRINUSE
    what = "is in use by another program" if busy else f"cannot be listened at ({error.strerror})"
    raise ValueError(
      f"port {port} of {platform.node()}, where process 0 is to be found, {what}; choose another "
      "one by JAX_COORDINATOR_PORT (on a cluster) or in JAX_COORDINATOR_ADDRESS, for all processes."
    ) from error


def split(address: str) -> tuple[str, int]:
  """HOST:PORT, the host perhaps in brackets; raises ValueError."""
  host, _, port = address.rpartition(":")
  host = host.removeprefix("[").removesuffix("]")
  if not host or not port.isdigit() or not 0 < int(port) < 2**16:
    raise ValueError(
      f"JAX_COORDINATOR_ADDRESS={address}: expected HOST:PORT of process 0, as in node1:29500."
    )
  return host, int(port)


def _write(line: socket.socket, value: Any) -> None:
  try:
    line.sendall(json.dumps(value).encode() + b"\n")
  except OSError:  # who has gone meanwhile hears nothing
    return


def _read(
  line: socket.socket, fields: Collection[str], seconds: float = _LINE
) -> dict[str, Any] | None:
  """An object in a line of JSON; None where none with these fields comes."""
  line.settimeout(seconds)
  data = b""
  try:
    while not data.endswith(b"\n"):
      part = line.recv(4096)
      if not part or len(data) > _LONGEST:
        return None
      data += part
    value = json.loads(data)
  except (OSError, ValueError):
    return None
  return value if isinstance(value, dict) and set(fields) <= value.keys() else None


def _listed(numbers: list[int]) -> str:
  shown = ", ".join(map(str, numbers[:8]))
  return f"{shown}, ..." if numbers[8:] else shown
