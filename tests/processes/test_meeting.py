"""Processes that meet before they train: who is missing, double or different is told in words."""

import concurrent.futures
import socket
import time

import pytest

from jaxseg.processes import meeting
from jaxseg.processes.meeting import Place, meet, split

VERSIONS = {"jax": "0.10.2"}


def free_address() -> str:
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{probe.getsockname()[1]}"


def outcomes(*places: Place, patience: float = 10.0, versions=None) -> list[str]:
  """What each process that comes is told; "" where it goes on."""

  def come(i: int) -> str:
    try:
      meet(places[i], (versions or {}).get(i, VERSIONS), patience)
    except ValueError as error:
      return str(error)
    return ""

  with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
    return list(pool.map(come, range(len(places))))


def test_all_go_on_when_all_are_there_and_the_port_is_free_again():
  address = free_address()
  for _ in range(2):
    assert outcomes(*[Place(address, 3, i) for i in (2, 0, 1)]) == ["", "", ""]


def test_those_that_are_there_hear_who_is_missing():
  address = free_address()
  told = outcomes(Place(address, 4, 0), Place(address, 4, 2), patience=1.0)
  assert told[0] == told[1]
  assert told[0].startswith(f"process 1, 3 of 4 did not come to {address} within 1 s; see why")


def test_a_lost_coordinator_is_told_with_its_address_and_what_to_look_at():
  address = free_address()
  (told,) = outcomes(Place(address, 2, 1), patience=1.0)
  assert told.startswith(f"process 1 of 2 did not reach process 0 at {address} within 1 s (")
  assert "Connection refused" in told
  assert "firewall" in told


def test_a_name_that_is_not_known_is_told():
  (told,) = outcomes(Place("no-such-host.invalid:29500", 2, 1), patience=1.0)
  assert "did not reach process 0 at no-such-host.invalid:29500 within 1 s (" in told


def test_two_processes_of_one_number_are_told_at_once(monkeypatch):
  monkeypatch.setattr(meeting, "_LINE", 1.0)  # those on their way are waited for so long
  address, begun = free_address(), time.monotonic()
  told = outcomes(*[Place(address, 3, i) for i in (0, 1, 1)], patience=60.0)
  assert len(set(told)) == 1
  assert "there are two processes 1" in told[0]
  assert "numbers from 0 to 2, each once" in told[0]
  assert time.monotonic() - begun < 30


def test_processes_that_count_otherwise_are_told():
  address = free_address()
  told = outcomes(Place(address, 2, 0), Place(address, 3, 1))
  assert told[0] == told[1]
  assert "one of 3 processes, process 0 on" in told[0]
  assert "expected the same JAX_NUM_PROCESSES" in told[0]


def test_other_versions_are_told_with_both_numbers():
  address = free_address()
  places = Place(address, 2, 0), Place(address, 2, 1)
  told = outcomes(*places, versions={1: {"jax": "0.11.2"}})
  assert told[0] == told[1]
  assert "different versions (jax 0.10.2, 0.11.2)" in told[0]


def test_a_port_in_use_is_told():
  with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
    (told,) = outcomes(Place(f"127.0.0.1:{port}", 2, 0))
  assert told.startswith(f"port {port} of ")
  assert "is in use by another program; choose another one by JAX_COORDINATOR_PORT" in told


def test_strangers_and_other_jobs_are_not_counted():
  address = free_address()
  host, port = split(address)

  def disturb(message: bytes):
    while True:
      try:
        with socket.create_connection((host, port)) as line:
          line.sendall(message)
        return
      except ConnectionRefusedError:
        time.sleep(0.05)

  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    first = pool.submit(outcomes, Place(address, 2, 0), patience=60.0)
    for message in (b"GET / HTTP/1.1\r\n\r\n", b'{"process": 1}\n', b"[1]\n"):
      disturb(message)
    # had one of them counted, nobody would listen any more
    assert outcomes(Place(address, 2, 1)) == [""]
    assert first.result() == [""]


@pytest.mark.parametrize("address", ["node1", "node1:", ":29500", "node1:port", "node1:99999"])
def test_an_address_without_host_or_port_is_refused(address):
  with pytest.raises(ValueError, match="expected HOST:PORT of process 0"):
    split(address)


def test_an_address_of_six_is_understood():
  assert split("[fe80::1]:29500") == ("fe80::1", 29500)
