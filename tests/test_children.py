"""Processes that are started and waited for: their cores, and why they failed, in words."""

import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from jaxseg import children


def test_jobs_share_the_cores_and_none_is_in_two(monkeypatch):
  monkeypatch.setattr(children.os, "sched_getaffinity", lambda pid: {0, 1, 2, 5}, raising=False)
  assert children.shares(1) == [(0, 1, 2, 5)]
  assert children.shares(2) == [(0, 2), (1, 5)]
  # more jobs than cores: the system divides them
  assert children.shares(5) == [()] * 5
  assert children.on_cores(()) == []


@pytest.mark.parametrize(
  ("code", "last", "words"),
  [
    (-signal.SIGKILL, "any", "killed, probably out of memory."),
    (-signal.SIGSEGV, "any", "ended by signal 11 (SIGSEGV)."),
    (1, "ValueError: no", "ended with status 1: ValueError: no"),
    (2, "", "ended with status 2: no words are given"),
  ],
)
def test_why_a_process_failed(code, last, words):
  assert children.failure(code, last) == words


# leaves with a code of its own where it is asked to; at once, as Python gives a signal its default
# back on its way out, where a second one would end it
PATIENT = (
  "import os, signal, time\n"
  "signal.signal(signal.SIGTERM, lambda *_: os._exit(130))\n"
  "print('ready', flush=True)\n"
  "time.sleep(60)\n"
)


def test_a_process_adds_to_its_log_and_tells_how_it_ended(tmp_path):
  log = tmp_path / "log"
  processes = children.Processes(["here"])
  with processes.place() as place:
    assert place == "here"
    script = "import os; print(os.environ['WORD'], os.environ['OMP_NUM_THREADS'])"
    options = {"cores": (0,), "environment": {"WORD": "said"}, "folder": tmp_path}
    assert processes.run([sys.executable, "-c", script], log, **options)[0] == 0
  code, used = processes.run([sys.executable, "-c", "import sys; sys.exit('no')"], log)
  assert code == 1
  assert used > 0
  assert log.read_text() == "said 1\nno\n"


def test_those_under_way_are_asked_to_leave_and_so_are_later_ones(tmp_path):
  processes, logs = children.Processes([0, 1]), [tmp_path / "a", tmp_path / "b"]
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    run = [pool.submit(processes.run, [sys.executable, "-c", PATIENT], log) for log in logs]
    wait_until(lambda: all(log.is_file() and "ready" in log.read_text() for log in logs))
    processes.stop(signal.SIGTERM, None)
    # a second signal while the first one is answered
    processes.stop(signal.SIGTERM, None)
    assert [ended.result()[0] for ended in run] == [130, 130]
  began = time.monotonic()
  processes.run([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "c")
  assert time.monotonic() - began < 30


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv tells a process of its parent")
def test_they_end_with_the_process_that_started_them_where_that_is_killed(tmp_path):
  log = tmp_path / "log"
  code = (
    "import pathlib, sys; from jaxseg.children import Processes\n"
    "Processes().run(['sh', '-c', 'echo $$; exec sleep 60'], pathlib.Path(sys.argv[1]))"
  )
  with subprocess.Popen([sys.executable, "-c", code, str(log)]) as table:
    wait_until(lambda: log.is_file() and log.read_text().endswith("\n"))
    own = pathlib.Path("/proc", log.read_text().strip())
    wait_until(lambda: (own / "comm").read_text().strip() == "sleep")
    table.kill()
  try:
    wait_until(lambda: ended(own))
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.kill(int(own.name), signal.SIGKILL)


def ended(process: pathlib.Path) -> bool:
  """A process that is gone, or that nobody has fetched yet."""
  try:
    return (process / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
  except (FileNotFoundError, ProcessLookupError):
    return True


def wait_until(true) -> None:
  end = time.monotonic() + 20
  while not true():
    assert time.monotonic() < end
    time.sleep(0.05)
