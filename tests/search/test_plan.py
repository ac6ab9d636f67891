"""config.search: what it is made of, the nested split, budgets and limits, what is refused."""

import pytest
import searched
from closeness import assert_close

from jaxseg import sealed
from jaxseg.build import plain
from jaxseg.compose import complete
from jaxseg.feeding import divided, source_of
from jaxseg.packages import installed
from jaxseg.search import limits
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


def test_trials_see_nothing_that_other_streams_hold_back(tmp_path):
  config = searched.config(tmp_path)
  config.method = dict(name="unpaired")
  mr = dict(name="phantom", cases=5, size=(32, 32), seed=3)
  config.streams = dict(mr=dict(source=mr, split=dict(name="kfold", fold=0, folds=5)))
  config.evaluate.streams = ("main", "mr")
  made = plan(config)
  assert made.base["evaluate"]["streams"] == ("main", "mr")
  assert made.trial(next(made.strategy())[0].candidate)["evaluate"]["streams"] == ()
  assert "those of mr (config.evaluate.streams) are held back" in "".join(made.notes)


def test_how_many_cases_score_a_trial_is_what_the_config_watches(tmp_path):
  config = searched.config(tmp_path)
  assert plan(config).score_cases == 2
  config.evaluate.cases = 1
  assert plan(config).score_cases == 1
  config.evaluate.cases = 9
  assert plan(config).score_cases == 2


def test_a_trial_predicts_no_case_that_its_score_is_not_of(tmp_path):
  config = searched.config(tmp_path, split=dict(folds=2))
  every = plan(config).config["data"]["split"]
  config.evaluate.cases = 2
  few = plan(config).config["data"]["split"]
  assert len(every["validation"]) == 4
  # those that the run would have watched
  assert few["validation"] == every["validation"][::2]
  assert few["train"] == every["train"]
  sides = divided(made := plan(config).config, source_of(made))
  assert (sides.train, sides.validation) == (few["train"], few["validation"])
  assert not set(sides.unlabelled) & set(every["validation"])


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


def test_limits_are_of_the_network_in_the_end_and_of_the_patch_that_it_has(tmp_path):
  # half of the channels and a quarter of the patch while it is searched
  fields = dict(data=dict(patch=(8, 8)), network=dict(name="unet", widths=(2, 4), depth=1))
  config = searched.config(tmp_path, evaluation=dict(name="proxy", steps=3, fields=fields))
  config.search.limits = dict(gflops=1.0, parameters=1e9)
  made = plan(config)
  spent = [
    limits.costs(made.base | {"data": {**made.base["data"], "patch": patch}}, *made.sizes)
    for patch in ((16, 16), (32, 32))
  ]
  assert_close(spent[1]["gflops"], 4 * spent[0]["gflops"], rtol=1e-9)
  assert spent[1]["parameters"] == spent[0]["parameters"]
  config.search.limits = dict(gflops=spent[0]["gflops"] * 0.99)
  with pytest.raises(ValueError, match=r"for a patch of 16x16, more than .*expected limits"):
    plan(config)
  # each candidate has a patch of its own
  config = searched.config(tmp_path, limits=dict(gflops=spent[0]["gflops"] * 1.01))
  config.search.space = dict(data=dict(patch=dict(choices=((16, 16), (32, 32)))))
  made = plan(config)
  made.trial({"data.patch": 0})
  with pytest.raises(ValueError, match=r"limits.gflops: the network has .* a patch of 32x32"):
    made.trial({"data.patch": 1})


def test_limits_count_what_a_method_gives_its_network_beside_the_image(tmp_path):
  config = complete(plain(searched.config(tmp_path)) | {"search": {}})
  alone = limits.costs(config, 1, 2)
  marked = limits.costs(complete({**config, "method": {"name": "ritm"}}), 1, 2)
  # the first convolution has three more channels: two of clicks, one of the mask before
  assert marked["parameters"] - alone["parameters"] == 3 * 9 * 4


def test_first_candidates_that_cannot_be_tried_are_refused_before_any_is(tmp_path):
  wide = dict(network=dict(widths=(32, 64)))
  space = dict(network=dict(widths=dict(choices=((4, 8), (32, 64), (8, 0)))))
  refused(
    tmp_path,
    r"first\[0\]: cannot be tried: config.search.limits.parameters",
    space=space,
    first=(wide,),
    limits=dict(parameters=2000),
  )
  refused(tmp_path, r"first\[1\]: is the same candidate as \[0\]", space=space, first=(wide, wide))


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
    (dict(evaluation=dict(name="proxy", steps=7)), "steps: 7; expected at most the 6 of"),
    (dict(evaluation=dict(name="proxy", share=0.0)), "share"),
    (
      dict(evaluation=dict(name="proxy", share=0.01)),
      r"^config\.search\.evaluation\.share: 0\.01 of \d+ training cases leaves none",
    ),
    (dict(space=WIDTHS, evaluation=dict(name="gradient_norm", batches=0)), r"batches: 0; expected"),
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
    (dict(space=dict(plan=dict(preset=dict(choices=("a", "b"))))), "plan.preset: is what the sea"),
  ):
    refused(tmp_path, words, **search)


def test_networks_of_several_sizes_have_no_weights_for_each_other(tmp_path):
  words = r"strategy\.inherit: .*space\.network\.widths makes networks of other sizes"
  refused(tmp_path, words, space=WIDTHS, strategy=dict(name="am_lfs"))
  config = searched.config(tmp_path)
  config.search = dict(space=WIDTHS, strategy=dict(name="am_lfs", inherit=False))
  plan(config)
  rates = dict(network=dict(dropout=dict(rate=dict(choices=(0.0, 0.5)))))
  config.search = dict(space=rates, strategy=dict(name="am_lfs"))
  plan(config)


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
