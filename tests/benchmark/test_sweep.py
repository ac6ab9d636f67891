import pytest

from jaxseg.benchmark import sweep

PHANTOM = "--config=configs/unet_phantom2d.py"


def test_values_are_split_at_commas_outside_of_brackets_and_quotes():
  assert sweep.values_of("1,2,4") == ["1", "2", "4"]
  assert sweep.values_of("(64,64),(96, 96)") == ["(64,64)", "(96, 96)"]
  assert sweep.values_of("dict(name='a,b'),{'c': [1,2]}") == ["dict(name='a,b')", "{'c': [1,2]}"]


@pytest.mark.parametrize(
  ("items", "words"),
  [
    (["data.batch"], "expected FIELD=VALUE"),
    (["data.batch=1,,2"], "expected FIELD=VALUE"),
    (["data.batch=1", "config.data.batch=2"], "given twice"),
    (["data.batch=1,1"], "a value occurs twice"),
  ],
)
def test_a_sweep_that_says_nothing_or_twice_the_same_is_refused(items, words):
  with pytest.raises(ValueError, match=words):
    sweep.parse(items)


def test_rows_are_all_combinations_with_values_of_the_fields_types():
  fields = sweep.parse(["data.batch=1,2", "network.dtype=float32,bfloat16"])
  rows = sweep.rows([PHANTOM], fields)
  assert [row.label for row in rows] == [
    "data.batch=1 network.dtype=float32",
    "data.batch=1 network.dtype=bfloat16",
    "data.batch=2 network.dtype=float32",
    "data.batch=2 network.dtype=bfloat16",
  ]
  assert rows[3].config["data"]["batch"] == 2
  assert rows[3].config["network"]["dtype"] == "bfloat16"


def test_without_a_sweep_there_is_one_row_of_the_config_as_it_is():
  (row,) = sweep.rows([PHANTOM, "--config.data.batch=3"], {})
  assert (row.label, row.config["data"]["batch"]) == ("", 3)


def test_a_field_that_there_is_not_is_refused_with_its_row():
  with pytest.raises(ValueError, match=r"^data\.bach=1: .*bach"):
    sweep.rows([PHANTOM], {"data.bach": ["1"]})


def test_another_network_leaves_the_options_of_the_config_behind_and_keeps_its_dtype():
  words = [PHANTOM, "--config.network.dtype=bfloat16"]
  unet, vnet = sweep.rows(words, {"network.name": ["unet", "vnet"]})
  assert unet.config["network"]["widths"] == (16, 32, 64, 128)
  assert vnet.config["network"] == {"name": "vnet", "dtype": "bfloat16"}


def test_a_config_file_that_knows_sizes_for_a_network_is_asked_for_them():
  words = ["--config", "configs/networks_2d.py"]
  (row,) = sweep.rows(words, {"network.name": ["kinet"], "data.batch": ["2"]})
  assert row.config["network"]["name"] == "kiunet"
  assert row.config["optimiser"]["learning_rate"] == 1e-2
  assert row.config["data"]["batch"] == 2


def test_all_is_every_network_of_such_a_file_and_refused_of_others():
  rows = sweep.rows(["--config=configs/networks_3d.py"], {"network.name": ["all"]})
  assert {"network.name=unet", "network.name=pseudo3d"} <= {row.label for row in rows}
  assert len(rows) > 20
  with pytest.raises(ValueError, match=r"network\.name=all: .*expected a config file"):
    sweep.rows([PHANTOM], {"network.name": ["all"]})


def test_an_unknown_network_is_refused_before_anything_runs():
  with pytest.raises(ValueError, match="unett"):
    sweep.rows([PHANTOM], {"network.name": ["unett"]})
