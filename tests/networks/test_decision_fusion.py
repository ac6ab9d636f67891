"""Decision fusion: of one or of alike members it is the member; missing ones are left out."""

import jax
import numpy as np
import pytest
from abstract import shapes, traced
from closeness import assert_close
from gradients import drawn

from jaxseg.batch import Target
from jaxseg.losses import LOSSES, deep_supervision
from jaxseg.networks import DecisionFusion, UNet

RNG = np.random.default_rng(5)
MEMBER = dict(name="unet", widths=(4, 6), depth=1, decoder_depth=1)
FUSIONS = ("average", "vote", "learned")


def made(modalities, rank=2, **options):
  """A net, its variables, an image and the jitted logits."""
  net = DecisionFusion(classes=3, member=MEMBER, **options)
  image = RNG.normal(size=(2, *(9, 8, 7)[:rank], modalities)).astype(np.float32)
  variables = {name: drawn(tree) for name, tree in shapes(net, *image.shape)[1].items()}
  return net, variables, image, jax.jit(lambda v, x: net.apply(v, x)["logits"])


def of_member(variables, name):
  return {kind: tree[name] for kind, tree in variables.items() if name in tree}


def single(variables, name, image):
  net = UNet(classes=3, **{k: v for k, v in MEMBER.items() if k != "name"})
  return jax.jit(net.apply)(of_member(variables, name), image)["logits"]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("rank", [2, 3])
def test_of_one_modality_it_is_the_member(fusion, rank):
  _, variables, image, logits = made(1, rank, fusion=fusion)
  np.testing.assert_array_equal(logits(variables, image), single(variables, "member1", image))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_members_alike_that_see_the_same_are_the_member(fusion):
  _, variables, image, logits = made(3, fusion=fusion)
  image = np.repeat(image[..., :1], 3, -1)
  alike = {
    kind: {**tree, **dict.fromkeys(("member2", "member3"), tree["member1"])}
    for kind, tree in variables.items()
  }
  alone, fused = single(variables, "member1", image[..., :1]), logits(alike, image)
  if fusion == "vote":
    np.testing.assert_array_equal(np.argmax(fused, -1), np.argmax(alone, -1))
  else:
    assert_close(fused, alone, rtol=1e-5)


@pytest.mark.parametrize("fusion", ["average", "learned"])
def test_a_fusion_is_the_mean_that_its_weights_say(fusion):
  _, variables, image, logits = made(2, fusion=fusion)
  members = [np.asarray(single(variables, f"member{m + 1}", image[..., m : m + 1])) for m in (0, 1)]
  shares = np.full((2, 3), 0.5)
  if fusion == "learned":
    powers = np.exp(np.asarray(variables["params"]["weights"], np.float64))
    shares = powers / powers.sum(0)
  expected = sum(share * of for share, of in zip(shares, members, strict=True))
  assert_close(logits(variables, image), expected, rtol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_missing_members_are_left_out_whatever_their_weights_are(fusion):
  _, variables, image, logits = made(3, fusion=fusion)
  image[0, ..., 1] = 0
  image[1, ..., :2] = 0
  changed = {
    **variables["params"],
    "member2": jax.tree.map(lambda x: x * np.nan, variables["params"]["member2"]),
  }
  fused = logits(variables, image)
  broken = logits({**variables, "params": changed}, image)
  np.testing.assert_array_equal(fused, broken)
  # with one that is there it is that one
  alone = single(variables, "member3", image[..., 2:])
  if fusion == "vote":
    np.testing.assert_array_equal(np.argmax(fused[1], -1), np.argmax(alone[1], -1))
  else:
    assert_close(fused[1], alone[1], rtol=1e-6)


def test_each_member_that_is_there_answers_for_itself():
  net, variables, image, _ = made(2)
  image[0, ..., 0] = 0
  _, outputs = traced(net, *image.shape, train=True)
  assert len(outputs["aux"]) == 2
  assert "aux" not in traced(net, *image.shape)[1]
  assert "aux" not in traced(made(2, own=False)[0], *image.shape, train=True)[1]
  labels = RNG.integers(0, 3, image.shape[:-1])

  @jax.jit
  def gradient(params, image):
    def loss(params):
      variables_of = {**variables, "params": params}
      out, _ = net.apply(variables_of, image, train=True, mutable=["batch_stats"])
      heads = deep_supervision(LOSSES["cross_entropy"], decay=1.0)
      return heads([out["logits"], *out["aux"]], Target(labels[:1]))

    return jax.grad(loss)(params)

  found = gradient(variables["params"], image[:1])
  assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(found["member1"]))
  assert any((np.asarray(x) != 0).any() for x in jax.tree.leaves(found["member2"]))


def test_bad_options_are_told():
  with pytest.raises(ValueError, match="decision_fusion: fusion='mean' is unknown"):
    DecisionFusion(fusion="mean")
  with pytest.raises(ValueError, match="decision_fusion: posterior='hard' is unknown"):
    DecisionFusion(posterior="hard")
  with pytest.raises(ValueError, match=r"config.network.member.name: 'unett' is unknown \(did you"):
    DecisionFusion(member="unett")
