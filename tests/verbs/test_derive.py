"""derive: what a search chose, from a run's folder alone; runs that chose nothing."""

import os
import signal

import jax
import numpy as np
import pytest
import tiny
from method_rows import small_supernet
from network_rows import SUPERNETS

from jaxseg import loop
from jaxseg.data.stream import Stream
from jaxseg.runs import checkpoint
from jaxseg.search import choice, drawing, genotypes, relaxation, spaces
from jaxseg.verbs import derive

pytestmark = pytest.mark.bits


def search(**changes):
  """A run of a few steps that searches."""
  run = tiny.experiment(
    **{
      "method": dict(name="darts"),
      "network": dict(name="cell_supernet", **SUPERNETS["cell_supernet"]),
      "optimisers": dict(architecture=dict(learning_rate=0.1)),
      "streams": dict(architecture=dict(cases="held_back")),
      **changes,
    }
  )
  main = run.streams[""]
  halves = main._replace(cases=(0, 1)), main._replace(cases=(2, 3))
  streams = {"": halves[0], "architecture": Stream(*halves[1])}
  return run._replace(streams=streams)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("search")
  loop.train(search(), workdir)
  return workdir


def test_the_genotype_is_that_of_the_weights_of_the_choices(folder, tmp_path, capsys):
  output, picture = tmp_path / "genotype.json", tmp_path / "genotype.png"
  derive.main([str(folder), "--output", str(output), "--picture", str(picture)])
  weights = checkpoint.load_learners(folder)["architecture"].params
  mix = relaxation.softmax(jax.tree.map(np.asarray, weights))
  assert genotypes.read(output) == choice.genotype(small_supernet("cells").choices(2), mix)
  assert picture.read_bytes().startswith(b"\x89PNG")
  said = capsys.readouterr().out
  assert "edges are skip connections" in said
  assert f'network=dict(name="cell_unet", genotype="{output}")' in said


def test_a_search_that_was_stopped_resumes_bit_for_bit(folder, tmp_path, monkeypatch):
  advance, seen = loop.Display.advance, []

  def counting(self, count=1):
    advance(self, count)
    seen.append(1)
    if len(seen) == 3:
      os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(loop.Display, "advance", counting)
    assert loop.train(search(), tmp_path) is None
  loop.train(search(), tmp_path)
  ours, theirs = (
    checkpoint.Checkpoints(at, checkpoint.LATEST).arrays(6) for at in (tmp_path, folder)
  )
  assert ours.keys() == theirs.keys()
  assert any("architecture" in name for name in ours)
  for name in ours:
    np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_a_run_that_is_no_search_is_refused(tmp_path):
  run = tiny.experiment(steps=2)
  loop.train(run, tmp_path / "run")
  with pytest.raises(SystemExit, match=r"derive: .*which choose nothing"):
    derive.main([str(tmp_path / "run")])
  with pytest.raises(SystemExit, match="derive: "):
    derive.main([str(tmp_path / "nothing")])


def test_a_picture_of_an_unknown_kind_is_refused_before_anything_is_written(folder, tmp_path):
  output = tmp_path / "genotype.json"
  with pytest.raises(SystemExit, match=r"genotype\.gif: pictures end in"):
    derive.main([str(folder), "--output", str(output), "--picture", str(tmp_path / "genotype.gif")])
  assert not output.exists()


def test_a_cell_of_skips_is_told(tmp_path):
  node = [["identity", 0], ["up_conv", 1]]
  skips = [["identity", 0], ["identity", 2]]
  genotype = {"space": "nas_unet", "up": [node, skips, skips]}
  genotype["down"] = [[["max", 0], ["max", 1]]] * 3
  config = {"method": {"name": "darts", "warm_up": 2}, "steps": 6}
  told = derive._notes(tmp_path, config, 6, genotypes.check(genotype, "genotype"))
  assert any("up cell is mostly skip connections" in line for line in told)
  assert not any("down cell" in line for line in told)
  told = derive._notes(tmp_path, config, 2, genotype)
  assert any("within its warm-up" in line for line in told)


@pytest.mark.parametrize("name", spaces.SPACES)
@pytest.mark.parametrize("ending", ["svg", "png"])
def test_genotypes_of_every_space_are_drawn(name, ending, tmp_path):
  of = spaces.build(dict(name=name))
  genotype = spaces.genotype(of, spaces.draw(of, np.random.default_rng(0)))
  drawing.draw(genotype, tmp_path / f"genotype.{ending}")
  assert (tmp_path / f"genotype.{ending}").stat().st_size > 1000
