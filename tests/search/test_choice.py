"""What is chosen of cells: the rules of DARTS and NAS-UNet, skips, entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.search import cells, choice, genotypes, relaxation


def published_rule(of, mix):
  """NAS-UNet's parser and DARTS', by loops: (strength, name, source), the two strongest."""
  out = {"space": of.kind}
  for cell in of.cells:
    out[cell], start = [], 0
    for node in range(of.nodes):
      groups = [of.group(cell, source) for source in range(2 + node)]
      number = {group: len(of.operations[group]) for group in groups}
      items = []
      for source, group in enumerate(groups):
        row = np.array(mix[group][start + source])
        names = of.operations[group]
        best = max((k for k, name in enumerate(names) if name != "none"), key=lambda k: row[k])
        scale = number[group] / max(number.values())
        items.append((row[best] * scale, names[best], source))
      strongest = sorted(sorted(items)[-2:], key=lambda item: item[2])
      out[cell].append([[name, source] for _, name, source in strongest])
      start += 2 + node
  return out


def drawn(of, seed, scale=1.0):
  random = np.random.default_rng(seed)
  return {
    group: jnp.asarray(scale * random.normal(size=shape), jnp.float32)
    for group, shape in of.shapes.items()
  }


@pytest.mark.parametrize("name", cells.CELLS)
@pytest.mark.parametrize("seed", range(3))
def test_the_two_strongest_edges_of_each_node_are_kept(name, seed):
  of = cells.FULL[name]
  mix = relaxation.softmax(drawn(of, seed))
  genotype = choice.genotype(of, mix)
  assert genotype == published_rule(of, mix)
  assert genotypes.check(genotype, "genotype") == genotype


def test_none_is_never_chosen():
  of = cells.FULL["darts"]
  weights = {group: jnp.zeros(shape).at[:, 0].set(9.0) for group, shape in of.shapes.items()}
  genotype = choice.genotype(of, relaxation.softmax(weights))
  assert "none" not in str(genotype)


def test_skips_are_counted_in_each_cell():
  of = cells.FULL["nas_unet"]
  for seed in range(4):
    mix = relaxation.softmax(drawn(of, seed))
    genotype = choice.genotype(of, mix)
    names = {cell: [name for node in genotype[cell] for name, _ in node] for cell in of.cells}
    counts = [each.count("identity") for each in names.values()]
    assert list(map(int, jax.jit(lambda mix: choice.skips(of, mix))(mix))) == counts


def test_the_entropy_of_nothing_learnt_is_the_logarithm_of_the_number_of_operations():
  of = cells.FULL["darts"]
  start = relaxation.softmax({group: jnp.zeros(shape) for group, shape in of.shapes.items()})
  assert_close(choice.mean_entropy(of, start), np.log(8), rtol=1e-6)
  decided = relaxation.softmax({group: 99 * jnp.eye(*shape) for group, shape in of.shapes.items()})
  rows = np.minimum(np.arange(14), 8) == 8  # rows beyond the eighth have no largest one
  assert_close(choice.mean_entropy(of, decided), np.log(8) * rows.mean(), rtol=1e-5)


def test_weights_of_no_operation_are_told_from_those_of_one():
  of = cells.FULL["nas_unet"]
  expected = {group: np.zeros(shape, bool) for group, shape in of.shapes.items()}
  rows = {"normal": (0, 2, 4, 5, 7, 8), "down": (0, 1, 2, 3, 5, 6), "up": (1, 3, 6)}
  for group, edges in rows.items():
    expected[group][list(edges)] = True
  expected["normal"][:, of.operations["normal"].index("none")] = False
  told = choice.acting(of)
  assert set(told) == set(expected)
  for group, where in told.items():
    assert np.array_equal(where, expected[group])
  assert sum(where.sum() for where in told.values()) == 36 + 36 + 12
  assert all(where.sum() == 14 * 7 for where in choice.acting(cells.FULL["darts"]).values())


def test_a_genotype_that_the_supernet_lacks_is_refused():
  of = cells.nas_unet(nodes=3, down=("max", "down_conv"))
  with pytest.raises(ValueError, match="'down_dep' is none of the supernet's"):
    choice.one_hot(of, genotypes.PUBLISHED["nas_unet_v2"])
  with pytest.raises(ValueError, match="have 2"):
    choice.one_hot(of._replace(nodes=2), genotypes.PUBLISHED["nas_unet_v2"])


def test_a_drawn_mix_is_of_one_operation_and_passes_the_soft_gradient():
  of = cells.FULL["darts"]
  weights = drawn(of, 0)
  mix = relaxation.gumbel(jax.random.key(0), weights, temperature=0.5)
  for row in mix.values():
    assert_close(jnp.sort(row, -1)[:, -1], jnp.ones(14), atol=1e-6)
    assert_close(row.sum(-1), jnp.ones(14), atol=1e-6)
  # the draw follows the softmax: Gumbel's maximum
  one = {"normal": jnp.log(jnp.array([[0.7, 0.2, 0.1]]))}
  keys = jax.random.split(jax.random.key(1), 4000)
  draws = jax.vmap(lambda key: relaxation.gumbel(key, one, temperature=1.0)["normal"][0])(keys)
  assert_close(draws.mean(0), [0.7, 0.2, 0.1], atol=0.03)

  def of_first(weights):
    return relaxation.gumbel(jax.random.key(0), weights, temperature=0.5)["normal"][0, 0]

  assert np.abs(jax.grad(of_first)(weights)["normal"][0]).max() > 0
