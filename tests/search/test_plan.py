"""config.search: what it is made of, the nested split, budgets and limits, what is refused."""

import pytest
import searched

from jaxseg import sealed
from jaxseg.feeding import divided, source_of
from jaxseg.packages import installed
from jaxseg.search.plan import plan

pytestmark = pytest.mark.skipif(
  not installed("optuna"), reason="Optuna is not installed: pip install 'jaxseg[search]'"
)


def refused(folder, words, **search):
  config = searched.config(folder)
  with config.unlocked():
    for name, value in search.items():
      config.search[name] = value
  with pytest.raises(ValueError, match=words):
    plan(config)


def test_trials_never_see_the_cases_that_the_config_holds_back(tmp_path):
  made = plan(searched.config(tmp_path, split=dict(folds=4, fold=1)))
  sides = divided(made.base, source_of(made.base))
  split = made.config["data"]["split"]
  assert made.test == sides.validation
  assert set(split["train"]) | set(split["validation"]) == set(sides.train)
  assert not {*split["train"], *split["validation"]} & set(made.test)
  inner = divided(made.config, source_of(made.config))
  assert inner.train == split["train"]
  assert inner.validation == split["validation"]
  assert len(inner.validation) == 2


def test_groups_stay_together_on_the_inner_sides(tmp_path):
  config = searched.config(tmp_path)
  config.data.split = dict(name="kfold", fold=0, folds=5, group=r"(\d)$")
  assert plan(config).config["data"]["split"]["group"] == r"(\d)$"


def test_too_few_training_cases_to_divide_again_are_told(tmp_path):
  config = searched.config(tmp_path)
  config.data.source.cases = 2
  config.data.split.folds = 2
  with pytest.raises(ValueError, match=r"config.search.split: .*one case.*of the training cases"):
    plan(config)


def test_a_part_with_labels_keeps_the_others_without_them(tmp_path):
  config = searched.config(tmp_path)
  config.data.split = dict(name="kfold", fold=0, folds=5, labelled=4)
  made = plan(config)
  before = divided(made.base, source_of(made.base))
  inner = divided(made.config, source_of(made.config))
  assert len(before.train) == 4
  assert set(inner.train) < set(before.train)
  assert set(inner.unlabelled) == set(before.unlabelled)


def test_a_proxy_has_fewer_steps_cases_and_other_fields(tmp_path):
  fields = dict(data=dict(batch=1), network=dict(widths=(4, 4)))
  how = dict(name="proxy", steps=3, share=0.5, fields=fields)
  made = plan(searched.config(tmp_path, evaluation=how))
  assert made.steps == 3
  assert made.base["steps"] == 6
  assert made.config["data"]["batch"] == 1
  assert made.config["network"] == {**made.base["network"], "widths": (4, 4)}
  assert len(made.config["data"]["split"]["train"]) == 3


def test_a_trial_has_what_its_candidate_sets(tmp_path):
  made = plan(searched.config(tmp_path))
  candidate = next(made.strategy())[0].candidate
  config = made.trial(candidate)
  assert config["optimiser"]["learning_rate"] == candidate["optimiser.learning_rate"]
  assert config["search"] == {}
  assert config["evaluate"]["every"] == config["steps"]


def test_the_sign_of_a_score_goes_by_its_metric(tmp_path):
  config = searched.config(tmp_path)
  assert plan(config).sign == 1
  config.evaluate.metrics = ("hd95",)
  assert plan(config).sign == -1


WIDTHS = dict(network=dict(widths=dict(choices=((4, 8), (8, 16)))))


def test_limits_refuse_a_network_and_a_space_of_nothing_else(tmp_path):
  config = searched.config(tmp_path, limits=dict(parameters=2000))
  config.search.space = dict(network=dict(widths=dict(choices=((4, 8), (32, 64)))))
  made = plan(config)
  with pytest.raises(ValueError, match=r"limits.parameters: the network has .*more than 2,000"):
    made.trial({"network.widths": 1})
  made.trial({"network.widths": 0})
  refused(tmp_path, "none of 20 candidates keeps them", limits=dict(parameters=10))


def test_what_is_no_search_is_refused_in_words(tmp_path):
  rate = searched.RATE
  for search, words in (
    (dict(space=dict()), "config.search.space: is empty"),
    (dict(spaec=dict()), "did you mean 'space'"),
    (dict(budget=dict(steps=5)), "5 fit no candidate, each of which is trained for 6 steps"),
    (dict(budget=dict(minutes=0)), "budget.minutes: 0"),
    (dict(budget=dict(hours=1)), "budget.hours"),
    (dict(strategy=dict(name="grid")), "'grid' is unknown"),
    (dict(evaluation=dict(name="proxy")), "full training unless"),
    (dict(evaluation=dict(name="proxy", share=0.0)), "share"),
    (dict(split=dict(folds=9)), "config.search.split.folds: 9"),
    (dict(split=dict(share=0.5)), "no such option"),
    (dict(first=(dict(optimiser=dict(lr=1)),)), r"first\[0\]"),
    (dict(first=dict(optimiser=dict(learning_rate=1e-3))), "in parentheses"),
    (dict(limits=dict(flops=1)), "limits.flops"),
    (
      dict(evaluation=dict(name="synflow"), strategy=dict(name="successive_halving")),
      "trains nothing",
    ),
    (dict(evaluation=dict(name="naswot")), "scores all its values alike"),
    (dict(space=dict(network=dict(width=dict(choices=(1, 2))))), "no candidate of 20"),
    (
      dict(space=WIDTHS, evaluation=dict(name="shared", run="nowhere")),
      "evaluation.run: nowhere/dataset.json",
    ),
    (dict(space=dict(steps=dict(choices=(5, 10)))), "space.steps: is what the search sets itself"),
    (dict(space=dict(data=dict(split=dict(fold=dict(choices=(0, 1)))))), "space.data.split.fold"),
    (
      dict(evaluation=dict(name="proxy", steps=3, fields=dict(evaluate=dict(cases=1)))),
      "fields.evaluate.cases",
    ),
    (dict(space=dict(optimizer=dict(learning_rate=rate))), "optimizer"),
  ):
    refused(tmp_path, words, **search)


def test_a_config_without_a_search_is_told_what_one_is(tmp_path):
  config = searched.config(tmp_path)
  config.search = dict()
  with pytest.raises(ValueError, match="expected what is to be searched"):
    plan(config)


def test_a_supernet_that_has_seen_what_it_is_scored_on_is_told(tmp_path):
  first = plan(searched.config(tmp_path))
  split = first.config["data"]["split"]
  for name, training in (("all", [*split["train"], *split["validation"]]), ("own", split["train"])):
    sealed.write(tmp_path / name / "dataset.json", {"training": list(training), "streams": {}})
    how = dict(name="shared", run=str(tmp_path / name))
    config = searched.config(tmp_path, evaluation=how)
    config.search.space = WIDTHS
    notes = plan(config).notes
    assert ("learnt from 2 of the 2 cases" in "".join(notes)) == (name == "all")
