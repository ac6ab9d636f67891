"""The sandwich rule: which networks learn; refusals."""

import jax
import numpy as np
import optax
import pytest
from drawn_states import state_of
from method_rows import batch_of, loss_of, small_unet

from jaxseg.methods import METHODS
from jaxseg.networks import PlainConvUNet


def method(net=None, **options):
  net = net or PlainConvUNet(classes=3, widths=(4, 6), deep_supervision=0)
  given = {"widths": ((2, 4), (3, 6)), "kernels": (1, 3), **options}
  return METHODS["sandwich"](net, loss_of(False), optax.sgd(0.1), **given)


def test_the_whole_network_the_smallest_one_and_those_between_are_told():
  scheme, batch = method(), batch_of()
  state, metrics = jax.jit(scheme.train_step)(state_of(scheme, batch), batch, jax.random.key(0))
  assert {"whole_loss", "smallest_loss", "drawn_loss"} <= set(metrics)
  parts = metrics["whole_loss"] + metrics["smallest_loss"] + 2 * metrics["drawn_loss"]
  np.testing.assert_allclose(metrics["loss"], parts / 4, rtol=1e-5)
  del state


@pytest.mark.parametrize(
  ("make", "words"),
  [
    (lambda: method(small_unet()), "instance norms"),
    (lambda: method(widths=((2, 4),)), "a network of 2 stages"),
    (lambda: method(widths=((2,), (3, 6))), r"the largest widths are \(2, 6\)"),
    (lambda: method(widths=((2, 4), ())), "one number of channels or more"),
    (lambda: method(kernels=(1,)), "the largest of which"),
    (lambda: method(kernels=(2, 3)), "odd"),
  ],
)
def test_what_holds_no_smaller_ones_is_refused(make, words):
  with pytest.raises(ValueError, match=words):
    make()
