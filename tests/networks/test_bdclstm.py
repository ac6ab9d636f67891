"""kU-Net + BDC-LSTM: symmetry along z, context of a slice, single slices, scales."""

import functools

import jax
import numpy as np
import pytest
from abstract import trained_shapes
from closeness import assert_close
from test_contracts import drawn

from jaxseg.networks import BDCLSTM

SMALL = {"widths": (3, 4), "hidden": 3}
SPACE = (5, 6, 9)


def volume(*space):
  return np.random.default_rng(0).normal(size=(1, *space, 2)).astype(np.float32)


def variables(net, x):
  return {name: drawn(tree) for name, tree in trained_shapes(net, *x.shape)[0].items()}


@functools.partial(jax.jit, static_argnums=0)
def logits(net, values, x):
  return net.apply(values, x)["logits"]


def exchanged(values):
  """The same network with the weights of the two directions exchanged."""
  params = dict(values["params"])
  for name in params:
    if name.startswith("lstm"):
      params[name] = {"forward": params[name]["backward"], "backward": params[name]["forward"]}
  return {**values, "params": params}


@pytest.mark.parametrize("rho", [None, 1])
def test_reversed_slices_and_exchanged_directions_reverse_the_output(rho):
  net, x = BDCLSTM(**SMALL, rho=rho), volume(*SPACE)
  values = variables(net, x)
  there, back = logits(net, values, x), logits(net, exchanged(values), x[:, ::-1])
  assert_close(back[:, ::-1], there, atol=1e-6)
  assert np.abs(logits(net, values, x[:, ::-1])[:, ::-1] - there).max() > 1e-3


def test_a_slice_sees_its_context_and_nothing_else():
  net, x = BDCLSTM(**SMALL, rho=1), volume(*SPACE)
  values = variables(net, x)
  changed = x.copy()
  changed[:, 4] += 1
  where = np.abs(logits(net, values, changed) - logits(net, values, x)).max((0, 2, 3, 4)) > 1e-6
  assert list(where) == [False, False, False, True, True]


def test_a_context_that_covers_the_volume_is_the_whole_volume():
  x = volume(*SPACE)
  values = variables(BDCLSTM(**SMALL), x)
  whole, context = logits(BDCLSTM(**SMALL), values, x), logits(BDCLSTM(**SMALL, rho=4), values, x)
  assert_close(context, whole, atol=1e-5)


def test_one_direction_looks_backwards_only():
  net, x = BDCLSTM(**SMALL, bidirectional=False), volume(*SPACE)
  values = variables(net, x)
  changed = x.copy()
  changed[:, 2] += 1
  where = np.abs(logits(net, values, changed) - logits(net, values, x)).max((0, 2, 3, 4)) > 1e-6
  assert list(where) == [False, False, True, True, True]


def test_a_single_slice_works():
  net, x = BDCLSTM(**SMALL), volume(1, 6, 9)
  out = logits(net, variables(net, x), x)
  assert out.shape == (1, 1, 6, 9, 3)
  assert np.isfinite(out).all()


def test_coarser_unets_feed_finer_ones_and_score_slices_in_training():
  net = BDCLSTM(2, k=3, widths=(4, 6), hidden=5, layers=2, fusion="concat")
  assert net.total_stride(3) == (1, 8, 8)
  shape, outputs = trained_shapes(net, 1, 2, 13, 10, 1)
  params = shape["params"]

  def inputs(name):
    return params[name]["encoder1"]["layer1"]["conv"]["kernel"].shape[2]

  assert [inputs(f"unet{i}") for i in (1, 2, 3)] == [1 + 4, 1 + 4, 1]
  assert params["lstm2"]["forward"]["cell"]["gates"]["kernel"].shape == (3, 3, 10 + 5, 20)
  assert [a.shape for a in outputs["aux"]] == [(1, 2, 13, 10, 2), (1, 2, 7, 5, 2), (1, 2, 4, 3, 2)]
  assert outputs["slices"].shape == (1, 2, 13, 10, 4)
  assert outputs["decoder"].shape == (1, 2, 13, 10, 10)


def test_bad_options_and_inputs_are_refused_in_words():
  with pytest.raises(ValueError, match=r"2 spatial axes; expected volumes"):
    trained_shapes(BDCLSTM(**SMALL), 1, 8, 8, 1)
  with pytest.raises(ValueError, match="k=0"):
    BDCLSTM(k=0)
  with pytest.raises(ValueError, match="fusion='mean' is unknown"):
    BDCLSTM(**SMALL, fusion="mean")
  with pytest.raises(ValueError, match="norm='layer' is unknown"):
    BDCLSTM(norm="layer")
