"""The table of methods: how each is made small, and who learns in it. A method is a row."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from critic_rows import SMALL as CRITIC_OPTIONS
from network_rows import ROWS as NETWORK_ROWS
from network_rows import SUPERNETS as SMALL_SUPERNETS

from jaxseg import augment
from jaxseg.losses import IMAGE_LOSSES, LOSSES
from jaxseg.method import Method
from jaxseg.methods import METHODS
from jaxseg.networks import CRITICS, DECODERS, GENERATORS, NETWORKS, SUPERNETS
from jaxseg.networks.several import Several


class Row(NamedTuple):
  """What the contract tests need to know of a method.

  Attributes:
    make: (constructor, tx) -> the method, tiny; its options by keyword.
    learns: learners that a step of training changes by a gradient.
    follows: those that follow others.
    frozen: those that stay as they are.
    regions: it acts on sigmoids, too.
    rate: of plain gradient descent, so that a few steps tell.
    elsewhere: that the loss falls is a test of the method's own file.
  """

  make: Callable[..., Method]
  learns: tuple[str, ...] = ("network",)
  follows: tuple[str, ...] = ()
  frozen: tuple[str, ...] = ()
  regions: bool = True
  rate: float = 0.2
  elsewhere: bool = False


def small_unet(classes: int = 3, **options):
  return NETWORKS["unet"](
    **{"classes": classes, "widths": (4, 8), "depth": 1, "decoder_depth": 1, **options}
  )


def small_transformer(**options):
  return NETWORKS["swin_unetr"](
    **{"classes": 3, "features": 4, "depths": (2,), "heads": 2, "window": 4, **options}
  )


def small_generator(**options):
  return GENERATORS["resnet_generator"](**{"widths": (4, 6), "blocks": 1, **options})


def loss_of(sigmoid: bool):
  def dice_and_ce(logits, target):
    parts = (LOSSES[name](logits, target, sigmoid=sigmoid) for name in ("cross_entropy", "dice"))
    return sum(parts) / 2

  return dice_and_ce


def strong():
  return augment.view({"noise": augment.noise, "brightness": augment.brightness})


def plainly(constructor, tx, *more, net=None, sigmoid=False, **options):
  """A method of a network, a loss, an optimiser, and what comes `more`."""
  return constructor(
    net or small_unet(), loss_of(sigmoid), tx, *more, **options, **_sigmoid(sigmoid)
  )


def _sigmoid(sigmoid: bool) -> dict:
  return {"sigmoid": True} if sigmoid else {}


def _detected(constructor, tx):
  net = NETWORKS["detect_then_segment"](classes=3, **NETWORK_ROWS["detect_then_segment"].small)
  return constructor(net, LOSSES["cross_entropy"], tx)


def _edge_supervision(constructor, tx, **options):
  net = NETWORKS["shape_attentive"](classes=3, **NETWORK_ROWS["shape_attentive"].small)
  return plainly(constructor, tx, net=net, **options)


def _regression(constructor, tx):
  return constructor(small_unet(1), IMAGE_LOSSES["l1"], tx)


def _distillation(constructor, tx, *, sigmoid=False):
  net = small_unet()
  options = {"attention": 1.0, "features": 1.0, "between": ("decoder",), **_sigmoid(sigmoid)}
  return constructor(net, Several(net, 2), loss_of(sigmoid), tx, tx, **options)


def _dual_branch(constructor, tx, **options):
  net = NETWORKS["ssl4mis_unet"](classes=3, widths=(4, 8), dropout=0.0, second_decoder=0.5)
  return plainly(constructor, tx, net=net, **options)


def _cross_teaching(constructor, tx, *, sigmoid=False):
  pair = small_unet(), small_transformer()
  return constructor(*pair, loss_of(sigmoid), tx, tx, **_sigmoid(sigmoid))


def _with_view(constructor, tx, **options):
  return plainly(constructor, tx, strong(), threshold=0.4, consistency=0.2, **options)


def _pseudo_label(constructor, tx, *, sigmoid=False):
  loss = loss_of(sigmoid)
  return constructor(small_unet(), loss, loss, tx, **_sigmoid(sigmoid))


def _cross_pseudo(constructor, tx, **options):
  return plainly(constructor, tx, consistency=0.1, cutmix=0.5, **options)


def _with_critic(critic, tx, constructor, *, sigmoid=False, net=None, **options):
  judge = CRITICS[critic](**CRITIC_OPTIONS[critic])
  roles = net or small_unet(), judge, loss_of(sigmoid), tx, optax.sgd(0.01)
  return constructor(*roles, **options, **_sigmoid(sigmoid))


def _adversarial(constructor, tx, **options):
  return _with_critic("residual_critic", tx, constructor, **options)


def _hung(constructor, tx, **options):
  return _with_critic("fully_convolutional_critic", tx, constructor, **options)


def _dan(constructor, tx, **options):
  return _with_critic("two_input_critic", tx, constructor, **options)


def _feature_alignment(constructor, tx, **options):
  return _with_critic("patch_critic", tx, constructor, features="decoder", **options)


def small_masks(**options):
  return GENERATORS["mask_generator"](**{"classes": 3, "widths": (4, 8), "latent": 4, **options})


def _mask_gan(constructor, tx, *, sigmoid=False):
  judge = CRITICS["patch_critic"](**CRITIC_OPTIONS["patch_critic"], norm="instance")
  return constructor(small_masks(), judge, tx, optax.sgd(0.01), **_sigmoid(sigmoid))


def _mask_vae(constructor, tx, *, sigmoid=False):
  encoder = GENERATORS["mask_encoder"](latent=4, widths=(4, 8))
  return constructor(small_masks(), encoder, loss_of(sigmoid), tx, **_sigmoid(sigmoid))


def _pix2pix(constructor, tx):
  judge = CRITICS["patch_critic"](**CRITIC_OPTIONS["patch_critic"], norm="instance")
  net = GENERATORS["unet_generator"](channels=1, widths=(4, 8, 8), norm="instance")
  return constructor(net, judge, IMAGE_LOSSES["l1"], tx, optax.sgd(0.01), feature_weight=1.0)


def small_decoder(**options):
  return DECODERS["feature_decoder"](**{"widths": (4, 4), "blocks": 1, **options})


def _sifa(constructor, tx, *, net=None, stages=2, **options):
  judge = CRITICS["patch_critic"](widths=(4, 8), norm="instance")
  twice = CRITICS["patch_critic"](widths=(4, 8), norm="instance", scores=2)
  nets = net or small_unet(), GENERATORS["resnet_generator"](widths=(4, 6), blocks=1)
  decoder = small_decoder(widths=(4,) * stages)
  rates = tx, optax.sgd(0.01), optax.sgd(0.01)
  return constructor(*nets, decoder, judge, twice, judge, loss_of(False), *rates, **options)


def _cyclegan(constructor, tx, **options):
  net, judge = small_generator(), CRITICS["patch_critic"](widths=(4, 8), norm="instance")
  return constructor(net, judge, IMAGE_LOSSES["l1"], tx, optax.sgd(0.01), **options)


def _synseg(constructor, tx, *, net=None, **options):
  nets = net or small_unet(), small_generator()
  judge = CRITICS["patch_critic"](widths=(4, 8), norm="instance")
  rates = optax.sgd(0.02), optax.sgd(0.01)
  return constructor(*nets, judge, loss_of(False), tx, *rates, **options)


def _searching(constructor, tx, **options):
  net = small_supernet("dints" if constructor.__name__ == "dints" else "cells")
  return constructor(net, loss_of(False), tx, optax.sgd(0.05), **options)


def _sandwich(constructor, tx):
  net = NETWORKS["plain_conv_unet"](classes=3, widths=(4, 6), deep_supervision=0)
  return constructor(net, loss_of(False), tx, widths=((2, 4), (3, 6)), kernels=(1, 3), between=1)


def small_supernet(kind: str, **options):
  """Of "cells" or "dints"."""
  name = "dints_supernet" if kind == "dints" else "cell_supernet"
  return SUPERNETS[name](**{**SMALL_SUPERNETS[name], **options})


def _ritm(constructor, tx):
  return constructor(small_unet(), loss_of(False), tx, turns=1, points=2)


def _deepedit(constructor, tx):
  return constructor(small_unet(), loss_of(False), tx, clicks=1)


def _scribbleprompt(constructor, tx):
  return constructor(small_unet(), loss_of(False), tx, answers=2, most=1)


def _nninteractive(constructor, tx):
  return constructor(small_unet(), loss_of(False), tx, turns=1)


def _deepigeos(constructor, tx):
  options = dict(least=1, every=4, partial=0.5)
  return constructor(small_unet(), small_unet(), loss_of(False), tx, tx, **options)


PAIR = ("network", "other")
CRITIC = ("network", "critic")

ROWS = {
  "supervised": Row(plainly, regions=False, elsewhere=True),
  "detected": Row(_detected, regions=False, elsewhere=True),
  # its network takes no volumes
  "edge_supervision": Row(_edge_supervision, elsewhere=True),
  "distillation": Row(_distillation, ("network", "regressor"), frozen=("teacher",), elsewhere=True),
  "dual_branch": Row(_dual_branch),
  "regression": Row(_regression, regions=False, elsewhere=True),
  "pseudo_label": Row(_pseudo_label),
  "entropy_minimisation": Row(plainly),
  "mean_teacher": Row(plainly, follows=("teacher",)),
  "uncertainty_mean_teacher": Row(plainly, follows=("teacher",)),
  "cross_pseudo": Row(_cross_pseudo, PAIR),
  "cross_teaching": Row(_cross_teaching, PAIR),
  "fixmatch": Row(_with_view),
  "unimatch": Row(_with_view),
  "copy_paste": Row(plainly, follows=("teacher",)),
  "adversarial": Row(_adversarial, CRITIC),
  "hung": Row(_hung, CRITIC),
  "dan": Row(_dan, CRITIC),
  "adabn": Row(plainly, regions=False),
  "restyled": Row(plainly, regions=False),
  "mmd": Row(plainly, regions=False),
  "feature_alignment": Row(_feature_alignment, CRITIC),
  "mask_gan": Row(_mask_gan, CRITIC, elsewhere=True),
  "mask_vae": Row(_mask_vae, elsewhere=True),
  "pix2pix": Row(_pix2pix, CRITIC, regions=False, elsewhere=True),
  "sifa": Row(
    _sifa,
    (*CRITIC, "generator", "decoder", "source_critic", "mask_critic"),
    regions=False,
    elsewhere=True,
  ),
  "cyclegan": Row(
    _cyclegan,
    ("network", "reverse", "critic", "source_critic"),
    regions=False,
    rate=0.02,
    elsewhere=True,
  ),
  "synseg": Row(
    _synseg,
    ("network", "generator", "reverse", "critic", "source_critic"),
    regions=False,
    rate=0.05,
  ),
  "unpaired": Row(plainly),
  **dict.fromkeys(
    ("darts", "gdas", "fairdarts", "dints"),
    Row(_searching, ("network", "architecture"), regions=False),
  ),
  "sandwich": Row(_sandwich, regions=False),
  # their users' programs take long to compile: one for all contract tests, the others' own files
  "ritm": Row(_ritm, regions=False),
  "deepedit": Row(_deepedit, regions=False, elsewhere=True),
  "scribbleprompt": Row(_scribbleprompt, regions=False, elsewhere=True),
  "nninteractive": Row(_nninteractive, regions=False, elsewhere=True),
  "deepigeos": Row(_deepigeos, ("network", "proposal"), regions=False),
}


def method(name: str, **options) -> Method:
  """The method of a row, with plain gradient descent."""
  row = ROWS[name]
  return row.make(METHODS[name], optax.sgd(row.rate), **options)


def batch_of(rank: int = 2, *, regions: bool = False, seed: int = 0):
  """Images whose classes follow from their brightness, with labels and without."""
  random = np.random.default_rng(seed)
  label = random.integers(0, 3, (4, *(8,) * rank)).astype(np.int32)
  image = label[..., None] + 0.1 * random.standard_normal((*label.shape, 1))
  image = jnp.asarray(image, jnp.float32)
  soft = np.stack([label > 0, label > 1, label == 2], -1).astype(np.float32)
  labels = {"soft_label": jnp.asarray(soft)} if regions else {"label": jnp.asarray(label)}
  batch = {"image": image, **labels, "spacing": jnp.ones((4, rank))}
  # another domain, darker where the first one is bright, of as many cases
  other = {**batch, "image": 2 - image}
  streams = {"unlabelled": {"image": image[:, ::-1]}, "target": {"image": 1 - image[:, ::-1]}}
  # cases with labels that the main stream leaves out
  rest = {name: of[::-1] for name, of in batch.items()}
  return {**batch, "target_image": 2 * image, **streams, "other": other, "architecture": rest}
