"""Names and options of components."""

import inspect

import pytest
from ml_collections import ConfigDict

from jaxseg import (
  augment,
  data,
  inference,
  losses,
  methods,
  metrics,
  networks,
  optimisers,
  schedules,
)
from jaxseg.build import bind, build, options_of, plain
from jaxseg.data.prepared.maps import MAPS
from jaxseg.data.prepared.normalise import NORMALISATIONS
from jaxseg.networks import parts
from jaxseg.networks.blocks import CONVS


def widget(size, *, colour="red"):
  return (size, colour)


TABLE = {"widget": widget, "gadget": dict}
# what is called later, with data or with a network
CALLED = {
  "losses": losses.LOSSES,
  "class weightings": losses.CLASS_WEIGHTINGS,
  "metrics": metrics.METRICS,
  "augmentations": augment.AUGMENTATIONS,
  "mixtures": augment.MIXTURES,
  "predictors": inference.PREDICTORS,
  "splits": data.SPLITS,
  "maps": MAPS,
  "normalisations": NORMALISATIONS,
  "schedules": schedules.SCHEDULES,
  "rates": schedules.RATES,
  "methods": methods.METHODS,
}
# modules: their attributes are their options
MODULES = {
  "networks": networks.NETWORKS,
  "blocks": parts.BLOCKS,
  "attentions": parts.ATTENTIONS,
  "bottlenecks": parts.BOTTLENECKS,
  "skips": parts.SKIPS,
  "convolutions": CONVS,
}


def test_name_and_options_call_the_constructor():
  spec = ConfigDict(dict(name="widget", size=[1, 2]))
  assert build(TABLE, spec, "part") == ((1, 2), "red")


def test_given_values_fill_in_and_the_config_wins_over_options():
  assert build(TABLE, {"name": "widget"}, "part", size=3, other=4) == (3, "red")
  chosen = {"name": "widget", "colour": "blue"}
  assert build(TABLE, chosen, "part", size=3, colour="green") == (3, "blue")
  with pytest.raises(ValueError, match=r"part\.size: 'widget' has no such option; options: colour"):
    build(TABLE, {"name": "widget", "size": 5}, "part", size=3)


def test_what_a_function_is_called_with_is_no_option():
  with pytest.raises(ValueError, match=r"part\.size: 'widget' has no such option; options: colour"):
    bind(TABLE, {"name": "widget", "size": 5}, "part")


@pytest.mark.parametrize(
  ("table", "name"), [(table, name) for table, rows in CALLED.items() for name in rows]
)
def test_no_config_sets_what_an_entry_is_called_with(table, name):
  function = CALLED[table][name]
  parameters = inspect.signature(function).parameters.values()
  called_with = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
  assert called_with
  for argument in called_with:
    with pytest.raises(ValueError, match=rf"part\.{argument}: '{name}' has no such option") as told:
      bind(CALLED[table], {"name": name, argument: 1}, "part")
    listed = str(told.value).split("options: ")[1].rstrip(".").split(", ")
    assert listed == (sorted(options_of(function)) or ["none"])


def test_a_method_gets_its_network_from_the_program_alone():
  given = dict(network=1, loss=2, optimiser=3)
  for role in given:
    with pytest.raises(ValueError, match=rf"method\.{role}: 'supervised' has no such option"):
      build(methods.METHODS, {"name": "supervised", role: None}, "method", **given)


def test_a_source_is_called_with_its_options():
  assert {"path"} < set(options_of(data.SOURCES["nnunet_raw"], given=()))
  with pytest.raises(ValueError, match=r"config\.data\.source: 'nnunet_raw' needs path"):
    build(data.SOURCES, {"name": "nnunet_raw"}, "data.source")


def test_an_optimisers_options_are_all_its_parameters():
  with pytest.raises(ValueError, match=r"'momentumm' has no|options: .*momentum"):
    optimisers.optimiser(name="sgd", learning_rate=1.0, steps=1, momentumm=0.9)


@pytest.mark.parametrize(
  ("table", "name"), [(table, name) for table, rows in MODULES.items() for name in rows]
)
def test_a_modules_options_are_its_attributes(table, name):
  options = options_of(MODULES[table][name])
  assert not {"parent", "name", "x", "self", "train"} & set(options)
  assert options_of(MODULES[table][name], given=("classes",)).keys() == options.keys()


def test_unknown_name_lists_the_choices():
  with pytest.raises(
    ValueError,
    match=r"config\.part\.name: 'wigdet' is unknown \(did you mean 'widget'\?\); choices: gadget,",
  ):
    build(TABLE, {"name": "wigdet"}, "part")


def test_misspelt_option_lists_the_options():
  with pytest.raises(
    ValueError,
    match=r"part\.color: 'widget' has no such option \(did you mean 'colour'\?\); options: colour,",
  ):
    build(TABLE, {"name": "widget", "color": "blue"}, "part")


def test_missing_option_and_missing_name_are_told():
  with pytest.raises(ValueError, match=r"config\.part: 'widget' needs size"):
    build(TABLE, {"name": "widget"}, "part")
  with pytest.raises(ValueError, match=r"config\.part: 'name' is missing"):
    build(TABLE, {"size": 1}, "part")
  with pytest.raises(
    ValueError, match=r"config\.part: expected a dict with a 'name', got 'widget'"
  ):
    build(TABLE, "widget", "part")


def test_bind_leaves_the_call_to_the_caller():
  assert bind(TABLE, {"name": "widget", "colour": "blue"}, "part")(7) == (7, "blue")


def test_plain_makes_tuples_and_dicts_all_the_way_down():
  config = ConfigDict(dict(a=[1, [2, 3]], b=dict(c=(4,))))
  assert plain(config) == {"a": (1, (2, 3)), "b": {"c": (4,)}}
