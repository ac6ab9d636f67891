"""Names and options of components."""

import pytest
from ml_collections import ConfigDict

from jaxseg.build import bind, build, plain


def widget(size, *, colour="red"):
  return (size, colour)


TABLE = {"widget": widget, "gadget": dict}


def test_name_and_options_call_the_constructor():
  spec = ConfigDict(dict(name="widget", size=[1, 2]))
  assert build(TABLE, spec, "part") == ((1, 2), "red")


def test_given_values_fill_in_and_the_config_wins():
  assert build(TABLE, {"name": "widget"}, "part", size=3, other=4) == (3, "red")
  assert build(TABLE, {"name": "widget", "size": 5}, "part", size=3) == (5, "red")


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
