"""config.initialise by itself."""

import pytest

from jaxseg.config.weights import Weights, weights

FILE = {"file": "x.pth", "format": "nnunet"}


def test_a_word_is_the_folder_of_a_run():
  assert weights("runs/a", "w") == weights({"run": "runs/a"}, "w") == Weights(run="runs/a")
  take = {"encoder*": "backbone*", "*norm*": None}
  assert weights({**FILE, "inputs": "cycle", "take": take}, "w") == Weights(
    file="x.pth", format="nnunet", inputs="cycle", take=take
  )


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    (
      3,
      r"^w: 3; expected the folder of a run, dict\(run=FOLDER\), dict\(file=.* or dict\(package=",
    ),
    ({}, r"^w: no run, file or package is named; expected"),
    ({"package": "efficientnet"}, r"^w\.package: 'efficientnet' is unknown .*; choices: dee"),
    ({"package": "efficientnet_lite0", "format": "nnunet"}, r"^w\.format: belongs to file"),
    ({"run": "a", "inflate": "sum"}, r"^w\.inflate: 'sum'; choices: mean, centre, axial"),
    ({"run": "a", **FILE}, r"^w: run and file are both named; expected"),
    ({"run": ""}, r"^w\.run: ''; expected a word"),
    ("", r"^w\.run: ''; expected a word"),
    ({"run": "a", "learnr": "x"}, r"^w\.learnr: no such option \(did you mean 'learner'\?\)"),
    ({"file": "x.pth"}, r"^w\.format: is missing for x\.pth; choices: .*nnunet"),
    ({"file": "x.pth", "format": "nnunett"}, r"^w\.format: 'nnunett' .*did you mean 'nnunet'"),
    ({"run": "a", "format": "nnunet"}, r"^w\.format: belongs to file, which is not named"),
    ({**FILE, "learner": "a"}, r"^w\.learner: belongs to run, which is not named"),
    ({"run": "a", "inputs": "sum"}, r"^w\.inputs: 'sum'; choices: mean, cycle, zero"),
    ({"run": "a", "take": "encoder*"}, r"^w\.take: 'encoder\*'; expected patterns of paths"),
    ({"run": "a", "take": {"a": 1}}, r"^w\.take\['a'\]: 1; expected a pattern of the source's"),
    ({"run": "a", "take": {"a": "*"}}, r"^w\.take\['a'\]: '\*' has more \* than 'a'"),
  ],
)
def test_what_makes_no_sense_is_told(spec, message):
  with pytest.raises(ValueError, match=message):
    weights(spec, "w")
