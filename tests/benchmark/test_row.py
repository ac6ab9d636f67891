import pytest

from jaxseg.benchmark import row


@pytest.mark.parametrize(
  ("error", "words"),
  [
    (ValueError("config.data.patch: too\n  small."), "config.data.patch: too small."),
    (RuntimeError("RESOURCE_EXHAUSTED: 3 GB"), "out of memory (RESOURCE_EXHAUSTED: 3 GB)"),
    (MemoryError(), "out of memory"),
    (KeyError("a"), "KeyError: 'a'"),
    (TypeError(), "TypeError: no words are given"),
  ],
)
def test_what_goes_wrong_in_a_row_is_a_sentence(error, words):
  assert row.failure(error) == words
