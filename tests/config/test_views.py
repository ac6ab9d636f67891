"""config.views and what a method needs: refused in words before any data are prepared."""

import jax
import numpy as np
import pytest
from view_methods import NEEDS, steady

from jaxseg import compose, data, defaults, experiment, feeding, methods, roles
from jaxseg.build import plain
from jaxseg.config import needs
from jaxseg.runs import same_run

STRONG = {"strong": {"noise": {"p": 1.0}, "brightness": {}}}
UNLABELLED = {"unlabelled": {"cases": "unlabelled"}}


@pytest.fixture(autouse=True)
def _known(monkeypatch):
  monkeypatch.setitem(methods.METHODS, "steady", steady)
  monkeypatch.setitem(methods.NEEDS, "steady", NEEDS)
  monkeypatch.setattr(data, "prepare", lambda *_, **__: pytest.fail("prepared"))


def config_of(tmp_path, **fields):
  config = plain(defaults.config())
  config["method"] = {"name": "steady"}
  config["network"] |= {"widths": (4, 8), "depth": 1, "decoder_depth": 1}
  config["data"] |= {"source": {"name": "phantom", "cases": 10, "size": (32, 32)}, "batch": 2}
  config["data"] |= {"patch": (16, 16), "folder": str(tmp_path)}
  config["data"]["split"] |= {"labelled": 2}
  return config | {"views": STRONG, "streams": UNLABELLED} | fields


def test_a_view_is_a_role():
  known = roles.roles(steady)
  assert known["strong"] == roles.Role(roles.VIEW, "strong", True)
  assert (known["strong"].field, known["weak"].field) == ("views.strong", "views.weak")
  assert not known["weak"].required


def test_a_role_is_filled_by_its_name(tmp_path):
  weak = {"brightness": {"p": 1.0, "factor": (2.0, 2.0)}}
  config = compose.complete(config_of(tmp_path, views=STRONG | {"weak": weak}))
  views = compose.views_by_role(config)
  assert set(views) == {"strong", "weak"}
  batch = {"image": np.ones((2, 8, 8, 1), np.float32)}
  assert np.array_equal(views["weak"](jax.random.key(0), batch)["image"], 2 * batch["image"])
  assert len(np.unique(views["strong"](jax.random.key(0), batch)["image"])) > 100


WRONG = {
  "missing": ({}, r"config\.views\.strong: is missing; the roles of 'steady': .*views\.strong"),
  "unknown": (
    STRONG | {"stronk": {}},
    r"config\.views\.stronk: the method has no such role \(did you mean 'strong'\?\)",
  ),
  "moves": (
    {"strong": {"mirror": {}}},
    r"config\.views\.strong\.mirror: 'mirror' changes more than intensities, .* config\.augment",
  ),
  "moves under another name": (
    {"strong": {"turn": {"name": "spatial"}}},
    r"config\.views\.strong\.turn: 'spatial' changes more than intensities",
  ),
  "mixes": ({"strong": {"cutmix": {}}}, r"config\.views\.strong\.cutmix: 'cutmix' changes more"),
  "body": ({"strong": {"mask_body": {}}}, r"config\.views\.strong\.mask_body: .*changes more"),
  "word": ({"strong": {"noize": {}}}, r"config\.views\.strong\.noize\.name: .*mean 'noise'\?"),
  "option": ({"strong": {"noise": {"q": 1}}}, r"config\.views\.strong\.noise\.q: .*no such option"),
  "value": ({"strong": {"noise": {"p": 2.0}}}, r"config\.views\.strong\.noise\.p: 2\.0; expected"),
  "no dict": ({"strong": "noise"}, r"config\.views\.strong: 'noise'; expected dict"),
  "empty": ({"strong": {}}, r"config\.views\.strong: it is empty, so that this view never changes"),
  "parts taken out": (
    STRONG | {"weak": {"noise": None}},
    r"config\.views\.weak: it is empty, .* or to leave an optional view out",
  ),
  "never": (
    {"strong": {"noise": {"p": 0.0}, "blur": {"p": 0.0}}},
    r"config\.views\.strong: p is 0 for noise, blur, so that this view never changes an image",
  ),
  "no options": ({"strong": {"noise": 1}}, r"config\.views\.strong\.noise: expected a dict"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_view_is_told(name, tmp_path):
  views, words = WRONG[name]
  with pytest.raises(ValueError, match=words):
    experiment.experiment(config_of(tmp_path, views=views))


def test_a_view_of_the_first_stage_of_a_cascade_is_refused(tmp_path):
  config = config_of(tmp_path, streams={})
  config["data"]["prior"] = {"run": "nowhere"}
  with pytest.raises(ValueError, match=r"config\.views: .*first stage \(config\.data\.prior\)"):
    compose.complete(config)


NEEDED = {
  "no stream": (
    {"streams": {}},
    r"config\.streams\.unlabelled: is missing; the method 'steady' .* add config\.streams\."
    r"unlabelled=dict\(cases=\"unlabelled\", batch=2\)",
  ),
  "the labelled cases": (
    {"streams": {"unlabelled": {}}},
    r"config\.streams\.unlabelled\.cases: 'training' are the cases that the main stream feeds",
  ),
  "another patch": (
    {"streams": {"unlabelled": {"cases": "unlabelled", "patch": (24, 24)}}},
    r"config\.streams\.unlabelled\.patch: \(24, 24\), and the main stream's is \(16, 16\)",
  ),
  "all labelled": (
    {"split": {"labelled": None}},
    r"config\.streams\.unlabelled\.cases: 'unlabelled', but every case .*\.split\.labelled",
  ),
  "a share of all": (
    {"split": {"labelled": 1.0}},
    r"config\.streams\.unlabelled\.cases: 'unlabelled', but every case",
  ),
  **{
    f"labelled {value!r}": ({"split": {"labelled": value}}, words)
    for value, words in (
      (0, r"config\.data\.split\.labelled: 0, but the main stream's cases learn from labels"),
      (0.0, r"config\.data\.split\.labelled: 0, but the main stream's cases learn from labels"),
      (0.01, r"config\.data\.split\.labelled: 0\.01 of 8 training cases is 0; expected"),
      (-1, r"config\.data\.split\.labelled: -1 of 8 training cases is -1; expected"),
      (False, r"config\.data\.split\.labelled: False; expected"),
      ((), r"config\.data\.split\.labelled: \(\): names none of the 8 training cases"),
      (("nobody",), r"config\.data\.split\.labelled: .*'nobody' is none of the 8 training cases"),
    )
  },
}


@pytest.mark.parametrize("name", NEEDED)
def test_what_a_method_needs_and_is_not_fed_is_told(name, tmp_path):
  fields, words = NEEDED[name]
  config = config_of(tmp_path)
  config["data"]["split"] |= fields.get("split", {})
  config["streams"] = fields.get("streams", config["streams"])
  with pytest.raises(ValueError, match=words):
    experiment.experiment(config)


@pytest.mark.parametrize("split", [{}, {"name": "kfold"}, {"name": "kfold", "labelled": 1}])
@pytest.mark.parametrize("method", ["steady", "supervised"])
def test_a_set_without_any_label_is_told(tmp_path, split, method):
  own = {} if method == "steady" else {"method": {"name": method}, "views": {}, "streams": {}}
  config = config_of(tmp_path, **own)
  config["data"]["split"] = split

  def bare(config):
    source = feeding.source_of(config)
    return source._replace(unlabelled=frozenset(source.cases))

  words = r"config\.data\.source: none of the 10 case\(s\) of 'phantom2d' has a label"
  with pytest.raises(ValueError, match=words):
    experiment.experiment(config, sources=bare)


def test_a_field_that_the_cases_lack_is_told(tmp_path, monkeypatch):
  monkeypatch.setitem(methods.NEEDS, "supervised", methods.Needs(fields=("scribble",)))
  config = config_of(tmp_path, method={"name": "supervised"}, views={}, streams={})
  words = r"config\.data\.fields\.scribble: is missing; the method 'supervised' learns from it: add"
  with pytest.raises(ValueError, match=words):
    experiment.experiment(config)


def test_every_need_is_a_methods():
  assert set(methods.NEEDS) <= set(methods.METHODS)
  assert needs.of({"method": {"name": "supervised"}}) == methods.Needs()


def test_schedules_of_a_methods_options_come_from_the_command_line_too(tmp_path):
  config = config_of(tmp_path)
  config["method"]["consistency_weight"] = {"name": "gaussian", "end": 0.5}
  ramp = compose.method_options(compose.complete(config))["consistency_weight"]
  assert float(ramp(config["steps"])) == pytest.approx(0.5)


def test_views_may_differ_between_members_alone():
  assert same_run.may_differ("views.strong.noise.p", same_run.MEMBERS)
  assert not same_run.may_differ("views.strong.noise.p", same_run.RESUME)


def test_an_option_of_a_view_that_is_left_out_is_its_default(tmp_path):
  before, now = config_of(tmp_path), config_of(tmp_path)
  now["views"] = {"strong": {"noise": {"p": 1.0, "sigma": (0.0, 0.1)}, "brightness": {}}}
  assert not same_run.differences(before, now, same_run.RESUME)
  now["views"] = {"strong": {"noise": {"p": 0.5}, "brightness": {}}}
  assert set(same_run.differences(before, now, same_run.RESUME)) == {"views.strong.noise.p"}


def test_a_patient_that_validates_is_not_fed_without_labels_either(tmp_path):
  """Two cases of each patient, of which the second one has no label."""
  config = config_of(tmp_path)
  config["data"]["split"] |= {"group": r"(\w+)_", "labelled": None}
  names = tuple(f"p{i}_{part}" for i in range(10) for part in ("a", "b"))
  bare = frozenset(name for name in names if name.endswith("b"))

  def source(config):
    return feeding.source_of(config)._replace(cases=names, unlabelled=bare)

  feed = feeding.feeds(compose.complete(config), source)["unlabelled"]
  assert len(feed.sides.validation) == 2
  patients = {name.split("_")[0] for name in feed.sides.validation}
  assert set(feed.cases) == {name for name in bare if name.split("_")[0] not in patients}
