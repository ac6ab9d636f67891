"""A network that does what clicks say, and a method that shows it them: answers that are known."""

import numpy as np
import pytest
import run_folders
from flax import linen as nn

from jaxseg import methods, networks
from jaxseg.data import RawCase
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.interaction import encoding_of, joined
from jaxseg.method import forward
from jaxseg.methods.supervised import supervised

PROMPTS = {"points": {"name": "disk", "radius": 2.0}, "previous": "probabilities"}


class Pointer(nn.Module):
  """Logits of a class: where it was clicked, was before, and of the last one the intensity.

  10 of a click, 20 of one of the background, and 5 where the probability before was above 0.9.
  """

  classes: int = 3

  def total_stride(self, rank):
    return (1,) * rank

  def margin(self, rank):
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train=False):
    scale = self.param("scale", nn.initializers.ones, ())
    clicks = 10 * x[..., self.classes : 2 * self.classes]
    logits = clicks.at[..., 0].multiply(2)
    logits = logits.at[..., 1:].add(5 * (x[..., 1 : self.classes] > 0.9))
    return {"logits": scale * logits.at[..., -1].add(x[..., 0])}


def pointed(network: nn.Module, loss, optimiser, *, prompts: dict = PROMPTS):
  """Supervised training that never sees a prompt, and prediction that does."""
  of = encoding_of(prompts)

  def widened(batch):
    return {**batch, "image": joined(of, batch, network.classes)}

  plain = supervised(network, loss, optimiser)

  def apply(state, batch):
    of = state.learners["network"]
    return forward(network, of.params, of.stats, widened(batch)["image"])[0]

  return plain._replace(init=lambda key, batch: plain.init(key, widened(batch)), apply=apply)


pointed.__annotations__ = {**supervised.__annotations__, "prompts": dict}


@pytest.fixture(scope="module")
def pointer_tables():
  """Makes the two known to configs."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(methods.METHODS, "pointed", pointed)
    patch.setitem(networks.NETWORKS, "pointer", Pointer)
    yield


def write(folder, *, prompts=None, **changes):
  """A run folder of it; its labels are those of `tiny`: background 0, dim 5, bright 9."""
  method = {"name": "pointed"} | ({"prompts": prompts} if prompts else {})
  return run_folders.write(folder, network={"name": "pointer"}, method=method, **changes)


def scan(shape, seed=0, geometry=None):
  """A dark scan: nothing is segmented in it without a click."""
  values = -1 - np.random.default_rng(seed).random((*shape, 1)).astype(np.float32)
  return RawCase(values, None, None, geometry or plain_geometry(shape))
