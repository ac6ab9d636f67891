"""What runs of one program may differ in, where they are trained, and what is refused in words."""

import dataclasses

import jax
import pytest
import tiny

from jaxseg import defaults, together
from jaxseg.build import plain
from jaxseg.data.stream import MAIN


def config(tmp_path, **changes):
  made = defaults.config()
  made.steps = 2
  made.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  made.data.source = dict(name="phantom", cases=5, size=(32, 32))
  made.data.patch = (16, 16)
  made.data.batch = 2
  made.data.folder = str(tmp_path)
  made.update_from_flattened_dict(changes)
  return made


def of(made, **changes):
  other = made.copy_and_resolve_references()
  other.update_from_flattened_dict(changes)
  return other


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return tmp_path_factory.mktemp("prepared")


def test_folds_and_seeds_are_built_as_each_alone_and_share_the_layout(prepared):
  made = config(prepared)
  several = [of(made, **{"data.split.fold": fold}) for fold in (0, 3)] + [of(made, seed=2)]
  runs, layout = together.together(several, plain(made.mesh))
  assert [run.config["data"]["split"]["fold"] for run in runs] == [0, 3, 0]
  assert [run.main.sampling.seed for run in runs] == [0, 0, 2]
  assert not set(runs[0].validation) & set(runs[1].validation)
  assert runs[0].validation == runs[2].validation
  assert layout.sizes["member"] == 1


def test_folds_whose_statistics_differ_have_sets_of_their_own_which_is_told(prepared):
  made = config(prepared, **{"data.normalise": "ct"})
  several = [of(made, **{"data.split.fold": fold}) for fold in (0, 1)]
  runs, layout = together.together(several, plain(made.mesh))
  first, second = (run.main.dataset.preparation.normalisation[0]["mean"] for run in runs)
  assert first != second
  assert any("the 2 runs have 2 prepared sets" in note for note in layout.notes)


def test_the_axis_member_is_that_of_all_runs_and_none_of_each(prepared):
  made = config(prepared, **{"mesh.member": 2, "mesh.batch": 1})
  several = [together.alone(of(made, seed=seed)) for seed in range(4)]
  runs, layout = together.together(several, plain(made.mesh))
  assert (layout.sizes["member"], layout.members) == (2, 4)
  assert runs[0].config["mesh"]["member"] == runs[0].layout.sizes["member"] == 1
  with pytest.raises(ValueError, match=r"2 devices for 3 .* trained together .* that divides them"):
    together.together(several[:3], plain(made.mesh))


def test_devices_that_could_train_runs_of_their_own_are_told(prepared):
  made = config(prepared, **{"data.batch": 1})
  _, layout = together.together([of(made, seed=seed) for seed in range(2)], plain(made.mesh))
  assert any("config.mesh.member=2 trains 2 at the same time" in note for note in layout.notes)


def test_what_follows_from_the_cases_must_be_alike():
  first, other = tiny.experiment(), tiny.experiment()
  sampling = other.main.sampling._replace(crop=(20, 16))
  with pytest.raises(ValueError, match=r"the size to augment .*\(16, 16\) .* is \(20, 16\)"):
    together.check_same_program(first, tiny.with_main(other, sampling=sampling))
  turned = dataclasses.replace(other.main.dataset.preparation, orientation="RAS")
  with pytest.raises(ValueError, match=r"the orientation .*RAS.* one program has one"):
    together.check_same_program(first, tiny.with_dataset(other, preparation=turned))
  together.check_same_program(first, other)
  seeded = tiny.with_main(other, sampling=other.main.sampling._replace(seed=9))
  together.check_same_program(first, seeded)


def test_other_fields_must_be_alike(prepared):
  made = config(prepared)
  with pytest.raises(ValueError, match=r"config.optimiser.learning_rate is 0.001 in one .* 0.1"):
    together.together([made, of(made, **{"optimiser.learning_rate": 0.1})], plain(made.mesh))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"members": 2}, "config.members=2 is an ensemble that is one run"),
    (
      {"loss": {"dice": {}, "cross_entropy": {"class_weights": "inverse_frequency"}}},
      "config.loss.cross_entropy.class_weights is counted",
    ),
    (
      {"losses": {"critic": {"cross_entropy": {"class_weights": {"name": "x"}}}}},
      "config.losses.critic.cross_entropy.class_weights is counted",
    ),
  ],
)
def test_what_cannot_share_a_program_is_refused(changes, message):
  values = plain(defaults.config()) | changes
  with pytest.raises(ValueError, match=message):
    together.check(values, folds=True)


def test_seeds_share_counted_class_weights():
  loss = {"cross_entropy": {"class_weights": "inverse_frequency"}}
  together.check(plain(defaults.config()) | {"loss": loss}, folds=False)


def test_several_processes_are_refused(monkeypatch):
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  with pytest.raises(ValueError, match="trains in one process, this run has 2"):
    together.check(plain(defaults.config()), folds=False)


def test_streams_are_told_by_name():
  run = tiny.experiment()
  two = run._replace(streams={MAIN: run.main, "target": run.main})
  other = two._replace(
    streams={
      MAIN: run.main,
      "target": run.main._replace(sampling=run.main.sampling._replace(batch=4)),
    }
  )
  with pytest.raises(ValueError, match="the sampling of stream 'target'"):
    together.check_same_program(two, other)
