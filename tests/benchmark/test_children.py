"""Rows in processes of their own: what becomes of a process that ends otherwise."""

import os
import signal
import stat

import pytest

from jaxseg.benchmark import children


@pytest.fixture
def ends(tmp_path, monkeypatch):
  """Makes Python a shell script."""

  def set_to(script):
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(children.sys, "executable", str(path))

  return set_to


@pytest.mark.parametrize(
  ("script", "words"),
  [
    ("kill -9 $$", "killed, probably out of memory."),
    ("kill -11 $$", "ended by signal 11 (SIGSEGV)."),
    ("echo some; echo why >&2; exit 3", "ended with status 3: why"),
    ("exit 0", "ended with status 0 without a result: no words are given"),
  ],
)
def test_a_process_that_ends_without_a_row_is_a_row_that_says_how(ends, script, words):
  ends(script)
  assert children.measure({"options": {}}, None, lambda text: None) == {"failed": words}


def test_progress_is_shown_and_the_row_is_what_the_process_wrote(ends):
  ends('echo compiling; printf \'{"failed": null, "a": 1}\' > "$(dirname "$3")/row.json"')
  lines = []
  assert children.measure({"options": {}}, None, lines.append) == {"failed": None, "a": 1}
  assert lines == ["compiling"]


def test_a_request_to_end_ends_the_rows_process_too(ends):
  before = signal.getsignal(signal.SIGTERM)
  ends("echo $$; exec sleep 60")
  numbers = []

  def say(text):
    numbers.append(int(text))
    os.kill(os.getpid(), signal.SIGTERM)

  with pytest.raises(KeyboardInterrupt):
    children.measure({"options": {}}, None, say)
  with pytest.raises(ProcessLookupError):
    os.kill(numbers[0], 0)
  assert signal.getsignal(signal.SIGTERM) is before


def test_a_cpu_is_divided_before_jax_starts_and_other_flags_stay(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "--a=1 --xla_force_host_platform_device_count=2")
  flags = children.environment(4)["XLA_FLAGS"]
  assert flags == "--a=1 --xla_force_host_platform_device_count=4"
  assert children.environment(None)["XLA_FLAGS"].endswith("count=2")


def test_devices_that_there_are_not_are_refused(ends):
  ends('echo \'{"device_count": 1, "device_kind": "NVIDIA H200"}\'')
  with pytest.raises(ValueError, match=r"--devices 2: JAX sees 1 \(NVIDIA H200\)"):
    children.machine(2)


def test_a_machine_where_jax_does_not_start_is_a_sentence(ends):
  ends("echo no driver >&2; exit 1")
  with pytest.raises(ValueError, match=r"JAX cannot start on this machine: no driver\."):
    children.machine(None)
