"""A profile of some steps."""

import pytest
import tiny

from jaxseg.benchmark import program, trace


def test_a_trace_is_written_and_says_how_it_is_opened(tmp_path):
  measured = program.of_experiment(tiny.experiment())
  told = trace.measure(measured, options={"trace": str(tmp_path / "trace")})
  assert any(name.endswith(".xplane.pb") for name in told["files"])
  assert "ui.perfetto.dev" in told["how"]
  assert "perfetto_trace" in told["how"]
  assert told["bytes"] > 0


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(ValueError, match=r"--trace .*is a file"):
    trace.check({}, {"trace": str(tmp_path / "file" / "trace")})
  with pytest.raises(ValueError, match="--trace: expected a folder"):
    trace.check({}, {"trace": None})
