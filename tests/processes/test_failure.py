"""What is said where another process is lost."""

import jax
import pytest

from jaxseg.processes import failure

GLOO = (
  "FAILED_PRECONDITION: Buffer Definition Event: Gloo AllReduce failed: "
  "[external/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:51234"
)


@pytest.fixture
def second_of_two(monkeypatch):
  monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  monkeypatch.setattr(jax, "process_index", lambda: 1)


@pytest.mark.usefixtures("second_of_two")
def test_a_sum_that_breaks_is_told_as_the_loss_of_a_process():
  told = failure.loss_of_others(RuntimeError(GLOO))
  assert told.startswith("another process of this run was lost (process 1 of 2 was told: FAILED_")
  assert "Gloo AllReduce failed" in told
  assert told.endswith("goes on from the newest checkpoint, with as many processes as it is given.")


@pytest.mark.usefixtures("second_of_two")
def test_memory_that_runs_out_is_no_loss_of_a_process():
  assert failure.loss_of_others(RuntimeError("RESOURCE_EXHAUSTED: Out of memory")) is None


def test_a_process_alone_lost_nobody():
  assert failure.loss_of_others(RuntimeError(GLOO)) is None
