"""Arguments of config files: names, values, and those of few choices."""

import pytest

from jaxseg import defaults

INITIAL = {"data": "busi", "fold": "0", "run": ""}
CHOICES = {"data": ("busi", "drive"), "fold": ("0", "1")}


def test_words_replace_the_initial_values():
  told = defaults.arguments(["fold=1", "run=a=b"], INITIAL, "METHOD", CHOICES)
  assert told == {"data": "busi", "fold": "1", "run": "a=b"}
  assert defaults.arguments(["data=own"], INITIAL, "METHOD")["data"] == "own"


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["data=bussi"], r"data=bussi: expected one of busi, drive \(did you mean 'busi'\?\)\.$"),
    (["fold=7"], r"fold=7: expected one of 0, 1\.$"),
    (["fald=1"], r"'fald=1' is no argument \(did you mean 'fold'\?\); expected METHOD,NAME=VALUE"),
    (["fold="], "'fold=' is no argument"),
  ],
)
def test_what_there_is_not_is_one_sentence_with_the_choices(words, message):
  with pytest.raises(ValueError, match=message):
    defaults.arguments(words, INITIAL, "METHOD", CHOICES)
