"""Cases of several domains are scored while training, each by the norms of its own domain."""

import numpy as np
import pytest

from jaxseg import defaults, files, loop
from jaxseg.build import plain
from jaxseg.data import read_label
from jaxseg.evaluation import held_out
from jaxseg.evaluation.while_training import in_turns
from jaxseg.experiment import experiment
from jaxseg.feeding import source_of
from jaxseg.inference.segmentation import segment
from jaxseg.methods import by_domain
from jaxseg.runs import checkpoint
from jaxseg.runs.load import load
from jaxseg.runs.writer import read_rows


def phantom(seed):
  return dict(name="phantom", cases=4, size=(16, 16), seed=seed)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A run of a few steps on two phantoms, the second seen darker; its folder, its report."""
  folder = tmp_path_factory.mktemp("domains")
  config = defaults.config()
  config.steps = 4
  config.data.source = phantom(0)
  config.data.folder = str(folder / "prepared")
  config.data.patch = (16, 16)
  config.data.batch = 2
  config.data.split = dict(name="explicit", validation=("phantom_0000",))
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.method = dict(name="unpaired")
  config.streams = dict(
    mr=dict(
      source=phantom(7),
      split=dict(name="explicit", validation=("phantom_0001", "phantom_0002")),
      normalise="minmax",
    )
  )
  config.evaluate.streams = ("main", "mr")
  config.evaluate.every = 2
  config.optimiser.learning_rate = 0.05
  run = experiment(plain(config))
  return folder / "run", loop.train(run, folder / "run"), run


def test_each_domains_unseen_cases_are_scored_while_training_and_at_the_end(trained):
  folder, report, run = trained
  assert [(of.stream, of.names) for of in run.watched_cases] == [
    ("", ("phantom_0000",)),
    ("mr", ("phantom_0001", "phantom_0002")),
  ]
  rows = [row for row in read_rows(folder / "metrics.jsonl")[0] if "validation/dice" in row]
  assert len(rows) == 2
  for row in rows:
    parts = [row["validation/main/dice"], row["validation/mr/dice"]]
    assert row["validation/dice"] == pytest.approx(np.dot(parts, (1, 2)) / 3, abs=0.2)
  streams = report["validation"]["streams"]
  assert {name: of["cases"] for name, of in streams.items()} == {"main": 1, "mr": 2}
  scores = held_out.read_scores(folder)["cases"]
  expected = np.mean(list(scores["phantom_0000"]["own"]["dice"].values()))
  assert streams["main"]["mean"]["dice"] == pytest.approx(expected)
  # NaN is NaN there, too
  stored = files.read_json(folder / "report.json", what="", advice="")
  np.testing.assert_equal(stored["validation"], report["validation"])


def test_streams_take_turns_and_each_case_is_of_its_own_set(trained):
  _, _, run = trained
  ours, theirs = (of.dataset for of in run.watched_cases)
  assert ours is not theirs
  told = [
    (number, dataset is theirs, case) for number, (dataset, case) in in_turns(run.watched_cases)
  ]
  assert told == [(0, False, 0), (1, True, 1), (2, True, 2)]


def test_a_case_is_predicted_alike_from_the_run_folder_by_its_domain(trained):
  folder, _, run = trained
  case, mr = (
    run.held_out[1].names[0],
    source_of({"data": run.config["data"] | {"source": phantom(7)}}),
  )
  (written,) = (folder / "validation").glob(f"{case}.*")
  (model, other) = (load(folder, domain=name) for name in ("mr", "main"))
  raw = mr.read(case)
  ours = segment([model.configuration], raw).labels
  np.testing.assert_array_equal(ours, read_label(written)[0])
  assert not np.array_equal(ours, segment([other.configuration], raw).labels)


def test_the_statistics_of_both_domains_have_moved_apart(trained):
  folder, _, _ = trained
  learner = checkpoint.load_learners(folder, checkpoint.LATEST)["network"]
  stats = learner.stats["batch_stats"]
  ours = by_domain.of_domain(stats, "main")["encoder1"]
  theirs = by_domain.of_domain(stats, "mr")["encoder1"]
  assert set(ours) == set(theirs)
  assert by_domain.shares(learner)[1] > 0
