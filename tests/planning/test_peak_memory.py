"""The predicted memory of a training step beside the compiler's own figure."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxseg import losses, networks
from jaxseg.methods.rematerialised import rematerialised
from jaxseg.methods.supervised import supervised
from jaxseg.planning.peak_memory import MARGIN, of_step_compiled, of_step_traced

UNET = dict(name="unet", widths=(8, 16), depth=1, decoder_depth=1)
# each has something that the compiler keeps and a count of activations does not see
ROWS = {
  # what is normalised beside what it is made from
  "norm": (UNET | dict(norm="instance"), (64, 64), "none"),
  # products in float32 beside what they are rounded to
  "bfloat16": (UNET | dict(dtype="bfloat16"), (64, 64), "none"),
  # the exponential inside of the error function
  "gelu": (dict(name="mednext", widths=(8, 12), blocks=1, expansion=2), (48, 64), "none"),
  # what is computed again is not what was computed before
  "remat": (UNET | dict(norm="instance", up="transpose"), (64, 64), "blocks"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_prediction_is_near_the_compilers_figure(row):
  options, patch, policy = ROWS[row]
  options = dict(options)
  net = networks.NETWORKS[options.pop("name")](classes=3, **options)
  of = {"ce": (1.0, losses.LOSSES["cross_entropy"])}
  of["dice"] = (1.0, functools.partial(losses.LOSSES["dice"], batch=True))
  method = supervised(net, losses.weighted_sum(of), optax.sgd(0.1, momentum=0.9))
  method = rematerialised(method, policy=policy)
  batch = {
    "image": jax.ShapeDtypeStruct((4, *patch, 1), jnp.float32),
    "label": jax.ShapeDtypeStruct((4, *patch), jnp.int32),
  }
  predicted = of_step_traced(method.init, method.train_step, batch)
  compiled = of_step_compiled(method.init, method.train_step, batch, remat=policy)
  assert predicted.arguments == compiled.arguments
  assert 1 / MARGIN <= predicted.peak / compiled.peak <= MARGIN
