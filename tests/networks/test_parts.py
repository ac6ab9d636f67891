"""Parts by name: what their options refuse, and when; inputs that leave a bottleneck too little."""

import inspect
import re

import jax
import pytest
from abstract import traced

from jaxseg.build import build, options_of
from jaxseg.networks import NETWORKS, EncoderUNet, UNet
from jaxseg.networks.blocks import CONVS
from jaxseg.networks.parts import ATTENTIONS, BLOCKS, BOTTLENECKS, SKIPS, part, try_part

TINY = dict(widths=(4, 6, 8), depth=1, decoder_depth=1)
NARROW = dict(encoder=dict(name="resnet18", blocks=(1, 1), width=4), widths=4)


@pytest.mark.parametrize(
  ("table", "name"),
  [(table, name) for table in (BLOCKS, ATTENTIONS, BOTTLENECKS, SKIPS) for name in table],
)
def test_every_part_is_made_from_its_width_alone(table, name):
  assert part(table, name, "option", features=8)(parent=None) is not None


@pytest.mark.parametrize("name", BLOCKS)
def test_a_blocks_docstring_names_every_option(name):
  words = set(re.findall(r"\w+", inspect.getdoc(BLOCKS[name])))
  assert set(options_of(BLOCKS[name])) <= words


@pytest.mark.parametrize(
  ("table", "name"),
  [(table, name) for table in (BLOCKS, ATTENTIONS, BOTTLENECKS, SKIPS, CONVS) for name in table],
)
def test_a_part_of_a_paper_names_it(table, name):
  assert name in ("plain", "none", "concat", "sum") or re.search(
    r"arXiv\s+\d{4}\.\d{4,5}|doi 10\.", inspect.getdoc(table[name])
  )


def test_a_part_is_tried_without_becoming_one():
  assert try_part(BLOCKS, dict(name="hdc", rates=(1, 2, 3)), "block", features=8) is None
  with pytest.raises(ValueError, match=r"network\.block\.ratse: 'hdc' has no such option"):
    try_part(BLOCKS, dict(name="hdc", ratse=(1, 2)), "block", features=8)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    (dict(block=dict(name="hdc", rates=(2, 2, 2))), r"hdc: rates=\(2, 2, 2\) grid"),
    (dict(block=dict(name="inception", kind="v5")), "inception: kind='v5' is unknown"),
    (dict(block=dict(name="inception", pool="mean")), "inception: pool='mean' is unknown"),
    (dict(block=dict(name="residual", kind="wide")), "residual block: kind='wide' is unknown"),
    (dict(block=dict(name="recurrent", t=-1)), "network.block.t: -1; expected a whole number"),
    (dict(block=dict(name="p3d", kind="D")), "p3d: kind='D' is unknown"),
    (dict(block=dict(name="dense", growth=0)), "network.block.growth: 0; expected"),
    (dict(block=dict(name="multires", alpha=0.1)), "multires: features=4 and alpha=0.1"),
    (dict(attention=dict(name="nonlocal", mode="gauss")), "nonlocal: mode='gauss' is unknown"),
    (dict(attention=dict(name="scse", aggregation="sum")), "scse: aggregation='sum' is unknown"),
    (dict(skip=dict(name="attention_gate", normalise="max")), "attention gate: normalise='max'"),
    (dict(skip=("concat", dict(name="grid_gate", gates=0))), "network.skip.gates: 0; expected"),
    (dict(bottleneck=dict(name="glca", share=0.0)), "network.bottleneck.share: 0.0; expected"),
    (dict(bottleneck=dict(name="graph_unet", graph="tree")), "graph_unet: graph='tree' is unknown"),
    (dict(bottleneck=dict(name="ppm", pooling="mean")), "ppm: pooling='mean' is unknown"),
    (dict(bottleneck=dict(name="gce", chunk=0)), "network.bottleneck.chunk: 0; expected"),
    (dict(bottleneck=dict(name="dac_rmp", rates=(1, 3))), r"dac: rates=\(1, 3\); expected three"),
  ],
  ids=str,
)
def test_options_of_parts_are_refused_when_the_network_is_made(options, words):
  with pytest.raises(ValueError, match=words):
    UNet(**TINY, **options)


def test_rates_are_judged_by_the_kernels_of_the_network():
  block = dict(name="hdc", rates=(1, 5))  # five taps bridge them, three do not
  with pytest.raises(ValueError, match="hdc: rates"):
    UNet(**TINY, block=block)
  assert UNet(**TINY, block=block, kernels=5).kernels == 5


def test_attention_may_differ_by_stage():
  attention = (None, "se", dict(name="cbam", reduction=2))
  net = UNet(widths=(4, 6, 8), depth=1, decoder_depth=1, attention=attention)
  params = traced(net, 1, 8, 8, 1)[0]
  found = {name: set(tree) for name, tree in params.items() if "attention" in name}
  same = traced(net.clone(attention="se"), 1, 8, 8, 1)[0]
  other = traced(net.clone(attention=attention[2]), 1, 8, 8, 1)[0]
  assert found == {
    "encoder_attention2": set(same["encoder_attention2"]),
    "decoder_attention2": set(same["decoder_attention2"]),
    "encoder_attention3": set(other["encoder_attention3"]),
  }
  nowhere = traced(net.clone(attention=(None, "none", None)), 1, 8, 8, 1)[0]
  assert nowhere.keys() == traced(net.clone(attention="none"), 1, 8, 8, 1)[0].keys()
  assert not any("attention" in name for name in nowhere)
  config = build(NETWORKS, dict(name="unet", widths=[4, 6, 8], attention=[None, "se", None]), "n")
  assert config.attention == (None, "se", None)


@pytest.mark.parametrize(
  ("name", "options", "place"),
  [
    ("unetpp", dict(widths=(4, 6, 8)), "attention2_0"),
    ("encoder_unet", NARROW, "decoder1/attention2"),
    ("encoder_unetpp", NARROW, "decoder1/attention2"),
  ],
)
def test_so_it_does_in_the_other_networks_that_take_it(name, options, place):
  net = NETWORKS[name](**options)
  stages = 3
  params = traced(net.clone(attention=(None,) * (stages - 1) + ("se",)), 1, 16, 16, 1)[0]
  leaves = jax.tree.leaves_with_path(params)
  paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
  assert {path[: len(place)] for path in paths if "attention" in path} == {place}
  with pytest.raises(ValueError, match=r"attention=\('se', 'se'\) has 2 entries but"):
    net.clone(attention=("se", "se"))


@pytest.mark.parametrize("name", ["encoder_unet", "resenc_unet", "cenet"])
def test_so_do_the_other_networks_that_take_parts(name):
  wrong = {
    "encoder_unet": dict(NARROW, attention=dict(name="nonlocal", mode="gauss")),
    "resenc_unet": dict(block=dict(encoder=dict(name="inception", kind="gauss"))),
    "cenet": dict(rates=(1, 3)),
  }
  with pytest.raises(ValueError, match=r"'gauss' is unknown|expected three dilations"):
    NETWORKS[name](**wrong[name])


@pytest.mark.parametrize(
  ("bottleneck", "least"),
  [
    ("ppm", 6),
    ("rmp", 6),
    ("dac_rmp", 6),
    (dict(name="ppm", bins=(1, 3)), 3),
    (dict(name="nonlocal", sub_sample=2), 2),
    (dict(name="gce", sub_sample=2, rates=(1, 2)), 2),
  ],
  ids=str,
)
@pytest.mark.parametrize(("make", "options"), [(UNet, TINY), (EncoderUNet, NARROW)])
def test_too_small_an_input_is_told_the_smallest(make, options, bottleneck, least):
  net = make(2, **options, bottleneck=bottleneck)
  smallest = (least - 1) * net.total_stride(2)[0] + 1
  words = rf"unet: .* size \(\d+, {smallest - 1}\) .* at least \({smallest}, {smallest}\) voxels"
  with pytest.raises(ValueError, match=words):
    traced(net, 1, smallest + 9, smallest - 1, 1)
  assert traced(net, 1, smallest, smallest, 1)[1]["logits"].shape == (1, smallest, smallest, 2)


def test_the_smallest_input_follows_each_axis():
  net = UNet(2, widths=(4, 6), depth=1, strides=((1, 2, 2),), bottleneck="rmp")
  with pytest.raises(
    ValueError, match=r"'rmp', which needs \(6, 6, 6\) voxels .* least \(6, 11, 11\) voxels"
  ):
    traced(net, 1, 5, 16, 16, 1)
  assert traced(net, 1, 6, 11, 11, 1)[1]["logits"].shape == (1, 6, 11, 11, 2)
  net = UNet(2, **TINY, bottleneck=dict(name="nonlocal", sub_sample=(1, 2, 2)))
  with pytest.raises(ValueError, match=r"at least \(1, 5, 5\) voxels"):
    traced(net, 1, 4, 4, 4, 1)
