"""SAUNet's training: edges are learnt beside the segmentation."""

import fixed_batch
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of
from method_rows import method, small_unet

from jaxseg.losses import LOSSES
from jaxseg.methods import METHODS
from jaxseg.networks import NETWORKS


def batch_of():
  label = np.zeros((4, 16, 16), np.int32)
  for i, (low, high) in enumerate(((2, 7), (5, 12), (3, 14))):  # nothing in the last one
    label[i, low:high, low:high] = 1
    label[i, low + 1 : high - 1, low + 1 : high - 1] = 2
  noise = np.random.default_rng(0).normal(size=(*label.shape, 1))
  image = (label[..., None] + 0.1 * noise).astype(np.float32)
  return {"image": jnp.asarray(image), "label": jnp.asarray(label)}


def test_the_loss_falls_and_both_parts_are_told():
  first, state, metrics = fixed_batch.train(method("edge_supervision"), batch_of())
  assert_close(metrics["loss"], metrics["segmentation_loss"] + metrics["edge_loss"], atol=1e-6)
  for of in (("shape", "edge"), ("head",), ("encoder", "conv0")):
    before, after = (x.learners["network"].params for x in (first, state))
    for name in of:
      before, after = before[name], after[name]
    assert np.any(before["kernel"] != after["kernel"]), of


def test_a_weight_is_of_the_edges_alone_and_may_be_a_schedule():
  batch, names = batch_of(), ("loss", "segmentation_loss", "edge_loss")
  metrics, state = {}, state_of(method("edge_supervision"), batch)
  for name, weight in (("none", 0.0), ("plain", 0.5), ("schedule", lambda step: 0.5 + step)):
    scheme = method("edge_supervision", edge_weight=weight)

    # of these alone, so that no gradient is compiled
    def told(*step, scheme=scheme):
      after = scheme.train_step(*step)[1]
      return {part: after[part] for part in names}

    metrics[name] = jax.jit(told)(state, batch, jax.random.key(1))
  parts = metrics["none"]
  assert_close(parts["loss"], parts["segmentation_loss"], atol=1e-6)
  total = parts["segmentation_loss"] + 0.5 * parts["edge_loss"]
  assert_close(metrics["plain"]["loss"], total, atol=1e-5)
  assert_close(metrics["schedule"]["loss"], total, atol=1e-5)


def test_a_network_without_edges_and_a_radius_below_one_voxel_are_refused():
  parts = LOSSES["cross_entropy"], optax.sgd(0.1)
  with pytest.raises(ValueError, match="the network UNet gives no 'edge_logits'"):
    METHODS["edge_supervision"](small_unet(), *parts)
  with pytest.raises(ValueError, match=r"edge_supervision: radius=0\.5; expected at least 1"):
    METHODS["edge_supervision"](NETWORKS["shape_attentive"](), *parts, radius=0.5)
