"""Edges of labels: SAUNet's target by distances, and the loss of what is said of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.batch import Target
from jaxseg.losses.edges import edge_loss, edge_target


def by_distances(labels, classes, radius):
  """As SAUNet's release computes it: distances to the other side, on a padded map, per class."""
  inner = (slice(1, -1),) * labels.ndim
  edges = np.zeros(labels.shape, bool)
  for c in range(1, classes):
    mask = np.pad(labels == c, 1)
    if mask.any():
      distance = ndimage.distance_transform_edt(mask) + ndimage.distance_transform_edt(~mask)
      edges |= (distance <= radius)[inner]
  return edges


def blobs(seed, *shape):
  """Three classes, in pieces, some of which end at the border."""
  noise = np.random.default_rng(seed).normal(size=shape)
  return np.digitize(ndimage.gaussian_filter(noise, 2), (-0.02, 0.05)).astype(np.int32)


@pytest.mark.parametrize("radius", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("shape", [(19, 23), (9, 11, 10)])
def test_edges_lie_on_both_sides_within_the_radius(shape, radius):
  labels = np.stack([blobs(0, *shape), blobs(1, *shape), np.zeros(shape, np.int32)])
  edges = jax.jit(lambda x: edge_target(x, 3, radius=radius))(labels)
  assert edges.shape == (3, *shape, 1)
  for of, own in zip(edges, labels, strict=True):
    np.testing.assert_array_equal(of[..., 0] > 0, by_distances(own, 3, radius))
  assert not edges[2].any()


def test_an_object_at_the_border_has_its_edge_there():
  labels = np.zeros((1, 7, 7), np.int32)
  labels[0, :5, 2:5] = 1
  edges = np.asarray(edge_target(jnp.asarray(labels), 2, radius=1.0))[0, ..., 0]
  np.testing.assert_array_equal(edges[0], [0, 1, 1, 1, 1, 1, 0])
  np.testing.assert_array_equal(edges[2], [0, 1, 1, 0, 1, 1, 0])


def test_soft_labels_and_regions_have_the_same_edges():
  labels = blobs(2, 16, 17)[None]
  plain = edge_target(jnp.asarray(labels), 3)
  soft = np.eye(3, dtype=np.float32)[labels]
  np.testing.assert_array_equal(edge_target(jnp.asarray(soft), 3), plain)
  regions = jnp.asarray(soft[..., 1:])
  np.testing.assert_array_equal(edge_target(regions, 2, sigmoid=True), plain)


def test_the_loss_is_binary_cross_entropy_of_what_is_known():
  labels = np.zeros((1, 9, 9), np.int32)
  labels[0, 3:6, 3:6] = 1
  logits = np.random.default_rng(0).normal(size=(1, 9, 9, 1)).astype(np.float32)
  truth = by_distances(labels[0], 2, 2.0)
  p = 1 / (1 + np.exp(-logits[0, ..., 0].astype(np.float64)))
  each = -np.where(truth, np.log(p), np.log(1 - p))
  plain = edge_loss(jnp.asarray(logits), Target(jnp.asarray(labels)), 2)
  assert_close(plain, each.mean(), atol=1e-6)
  # the last two columns are not annotated: edges within two voxels of them are not known either
  weight = np.ones((1, 9, 9), np.float32)
  weight[..., 7:] = 0
  weighed = edge_loss(jnp.asarray(logits), Target(jnp.asarray(labels), jnp.asarray(weight)), 2)
  assert_close(weighed, each[:, :5].mean(), atol=1e-6)


def test_a_radius_below_one_voxel_is_refused():
  with pytest.raises(ValueError, match=r"radius is 0\.5; expected at least 1"):
    edge_target(jnp.zeros((1, 4, 4), jnp.int32), 2, radius=0.5)
