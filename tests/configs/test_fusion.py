"""Every kind of fusion is a config on equal data; its arguments are what they say."""

import pathlib
import runpy

import pytest

from jaxseg import feeding, networks
from jaxseg.build import build
from jaxseg.compose import complete
from jaxseg.config.file import load_config
from jaxseg.config.modalities import drops_modalities
from jaxseg.data.formats.images import read_image
from jaxseg.data.prepared import normalise

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "fusion.py"
TABLE = runpy.run_path(str(CONFIG))


def config(argument):
  return complete(load_config(f"{CONFIG}:{argument}"))


@pytest.mark.parametrize("fusion", TABLE["FUSIONS"])
@pytest.mark.parametrize("protocol", TABLE["PROTOCOLS"])
def test_every_kind_is_a_config_with_equal_data(fusion, protocol):
  made, floor = (config(f"{name},protocol={protocol}") for name in (fusion, "input"))
  for field in ("steps", "optimiser", "seed", "predictor", "evaluate", "augment", "loss"):
    assert made[field] == floor[field]
  differ = {"patch", "batch"} if (fusion, protocol) == ("layer", "published") else set()
  assert {name for name in made["data"] if made["data"][name] != floor["data"][name]} == differ
  assert made["evaluate"]["every"] == made["steps"]
  net = build(networks.NETWORKS, made["network"], "network", classes=3)
  rank = len(made["data"]["patch"])
  assert all(n > 2 * m for n, m in zip(made["data"]["patch"], net.margin(rank), strict=True))


def test_the_arguments_choose_dropout_and_the_patient_that_validates():
  assert not drops_modalities(config("layer,dropout=none"))
  assert config("layer,dropout=count")["augment"]["modality_dropout"] == {"rule": "count"}
  assert config("layer,fold=2")["data"]["split"]["fold"] == 2
  assert config("layer,fold=2")["data"]["split"]["folds"] == 3


@pytest.mark.skipif(
  not (CONFIG.parents[2] / "shared" / "data").is_dir(), reason="../shared/data is not there"
)
def test_outside_of_the_brain_is_0_in_every_channel_of_every_patient(monkeypatch):
  monkeypatch.chdir(CONFIG.parents[1])
  made = config("input")
  source = feeding.source_of(made)
  schemes = normalise.schemes(made["data"]["normalise"], source.channels)
  for case in source.cases:
    mask, _ = read_image(pathlib.Path(made["data"]["source"]["path"]) / case / "brainmask.nii.gz")
    brain, raw = mask[..., 0] > 0.5, source.read(case)
    for i, scheme in enumerate(schemes):
      channel = normalise.normalised(raw.image[..., i], scheme)
      assert (channel[~brain] == 0).all()
      assert (channel[brain] > 0).mean() > 0.94
      # the scale at which noise is added
      assert 1 < channel[brain].std() < 2


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("xyz", "'xyz' is no kind of fusion here; choices: input, layer, decision, attention"),
    ("attnetion", r"\(did you mean 'attention'\?\)"),
    ("input,fold=3", "fold=3: expected one of 0, 1, 2"),
    ("input,dropout=some", "dropout=some: expected one of independent, count, none"),
    ("input,folds=2", r"'folds=2' is no argument \(did you mean 'fold'\?\)"),
  ],
)
def test_what_is_no_argument_is_told(argument, message):
  with pytest.raises(ValueError, match=message):
    config(argument)
