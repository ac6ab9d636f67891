"""The config of the table of transfer: its sets, starts and shares, and what it refuses."""

import pathlib
import runpy

import pytest

from jaxseg import feeding
from jaxseg.compose import complete
from jaxseg.config.file import load_config
from jaxseg.data.stream import MAIN

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "transfer.py"
MODULE = runpy.run_path(str(CONFIG))
get_config = MODULE["get_config"]


def test_starts_differ_by_what_they_say_alone():
  scratch = get_config("busi").to_dict()
  imagenet = get_config("busi,start=imagenet").to_dict()
  assert imagenet.pop("initialise") == {"network": {"package": "efficientnet_lite0"}}
  assert scratch.pop("initialise") == {}
  assert imagenet == scratch
  frozen = get_config("busi,start=imagenet_frozen").to_dict()
  assert frozen.pop("optimiser") == scratch.pop("optimiser") | {
    "layers": ("encoder*",),
    "unfreeze": (0.3,),
    "frozen_norms": "kept",
  }
  del frozen["initialise"]
  assert frozen == scratch


def test_labels_are_a_share_of_the_training_cases_drawn_by_the_seed():
  split = get_config("cvc_clinicdb,labelled=0.05,draw=2").data.split
  assert (split.labelled, split.labelled_seed) == (0.05, 2)
  assert "labelled" not in get_config("cvc_clinicdb,labelled=1.0").data.split


def test_whole_sequences_of_polyps_validate():
  # first and last frame of sequences 4, 8, 12, 16 and 20
  sequences = ((68, 78), (152, 177), (228, 252), (318, 342), (409, 428))
  frames = range(3, 424, 10)
  held = [str(f) for f in frames if any(a <= f <= b for a, b in sequences)]
  assert list(MODULE["POLYPS"]) == held


@pytest.mark.parametrize("target", MODULE["DOMAINS"])
def test_another_domain_is_the_run_of_a_set_with_the_same_network(target):
  source = MODULE["DOMAINS"][target]
  ours = get_config(f"{target},start={source},source=runs/x")
  assert ours.initialise.to_dict() == {"network": "runs/x"}
  theirs = get_config(source)
  assert ours.network.to_dict() == theirs.network.to_dict()
  assert ours.data.patch == theirs.data.patch
  assert ours.data.normalise == theirs.data.normalise


@pytest.mark.parametrize(
  ("name", "cases"),
  [
    ("cvc_clinicdb", 43),
    ("busi", 60),
    ("drive", 20),
    ("cxr_lung", 80),
    ("montgomery", 40),
    ("shenzhen", 40),
    ("acdc", 160),
    ("sunnybrook", 260),
    ("ct", 6),
    ("mr", 8),
  ],
)
def test_every_set_is_read_and_divided(name, cases, monkeypatch):
  root = CONFIG.parents[1]
  if not (root / MODULE["DATA"]).is_dir():
    pytest.skip("no real data beside the checkout (../shared/data)")
  monkeypatch.chdir(root)
  config = complete(load_config(f"{CONFIG}:{name},labelled={1.0 if name == 'ct' else 0.1}"))
  feed = feeding.feeds(config, feeding.source_of)[MAIN]
  assert len(feed.source.cases) == cases
  assert feed.cases
  assert feed.sides.validation
  assert not set(feed.cases) & set(feed.sides.validation)


@pytest.mark.parametrize(
  ("wanted", "message"),
  [
    ("busy", r"'busy' is no set of this table \(did you mean 'busi'\?\)"),
    ("busi,start=imagnet", r"start=imagnet: expected one of scratch, .* \(did you mean 'imagenet'"),
    ("mr,start=imagenet", r"start=imagenet: expected one of scratch, ct"),
    ("mr,start=ct", r"source=: is the run folder of another set, and belongs to start=ct"),
    ("busi,source=runs/x", r"source=runs/x: .* belongs to start=none of this set"),
    ("busi,labelled=0", r"labelled: expected a share above 0, up to 1"),
    ("busi,labelled=half", r"labelled: expected a share above 0, up to 1"),
    ("busi,draw=-1", r"draw=-1: expected a whole number from 0"),
    ("busi,labeled=0.1", r"'labeled=0.1' is no argument \(did you mean 'labelled'\?\)"),
  ],
)
def test_what_is_no_row_is_refused(wanted, message):
  with pytest.raises(ValueError, match=message):
    get_config(wanted)
