"""Processes that are started and waited for: their cores, and why they failed, in words."""

import signal

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
