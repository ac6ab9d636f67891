"""Weights that come from another run or a file."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import run_folders
import state_dicts
import torch_files
from closeness import assert_close

from jaxseg import paths
from jaxseg.fine_tuning import Anchors
from jaxseg.losses import dice
from jaxseg.method import Learner, State
from jaxseg.methods.averaged import averaged
from jaxseg.methods.supervised import supervised
from jaxseg.networks import NETWORKS
from jaxseg.optimisers import optimiser
from jaxseg.runs import checkpoint, initialise
from jaxseg.runs.initialise import CLASSES, INPUTS, initialised, plan


def shapes(*, classes=3, channels=1, average=False, rank=2, tx=None, **options) -> State:
  """The shapes of a small U-Net's training state."""
  if "name" not in options or options["name"] in ("unet", "plain_conv_unet"):
    options = {"name": "unet", "widths": (4, 8), "depth": 1, "decoder_depth": 1, **options}
  net = NETWORKS[options.pop("name")](classes=classes, **options)
  method = supervised(net, dice, tx or optax.adam(1e-3))
  method = averaged(method) if average else method
  batch = {"image": jax.ShapeDtypeStruct((1, *(8,) * rank, channels), jnp.float32)}
  return jax.eval_shape(method.init, jax.eval_shape(lambda: jax.random.key(0)), batch)


def state(seed: int, step: int = 3, **options) -> State:
  """A state of such shapes, all of its numbers random."""
  random = np.random.default_rng(seed)
  filled = jax.tree.map(
    lambda of: jnp.asarray(random.standard_normal(of.shape), of.dtype), shapes(**options)
  )
  return filled.replace(step=jnp.int32(step))


def saved(folder, seed: int = 1, **options) -> State:
  made = state(seed, **options)
  checkpoint.Checkpoints(folder).save(made, {})
  return made


def start(spec, own: State, **options) -> tuple[State, list[str]]:
  """What becomes of a state that `options` made, tried on shapes first."""
  given = {"classes": 3, "channels": 1, **options}

  def vary():
    return {
      CLASSES: shapes(**{**given, "classes": given["classes"] + 1}).learners,
      INPUTS: shapes(**{**given, "channels": given["channels"] + 1}).learners,
    }

  starts = plan({"network": spec}, shapes(**given).learners, vary)
  return initialised(own, starts)


def leaves(learner: Learner) -> dict[str, np.ndarray]:
  trees = [learner.params, *learner.stats.values()]
  return {path: np.asarray(of) for tree in trees for path, of in paths.flatten(tree).items()}


def test_all_of_a_run_is_taken_and_the_optimiser_starts_anew(tmp_path):
  theirs, own = saved(tmp_path), state(2)
  after, (table,) = start(str(tmp_path), own)
  for path, of in leaves(theirs.learners["network"]).items():
    np.testing.assert_array_equal(leaves(after.learners["network"])[path], of)
  assert after.learners["network"].opt_state is own.learners["network"].opt_state
  assert after.step == own.step
  number = len(leaves(own.learners["network"]))
  assert table.startswith(
    f"config.initialise.network: {number} of {number} arrays from {tmp_path} (learner network):"
  )


def test_the_network_that_a_run_predicts_with_is_its_average(tmp_path):
  theirs = saved(tmp_path, average=True)
  for learner, expected in (("", "network_average"), ("network", "network")):
    spec = {"run": str(tmp_path), **({"learner": learner} if learner else {})}
    after, (table,) = start(spec, state(2))
    for path, of in leaves(theirs.learners[expected]).items():
      np.testing.assert_array_equal(leaves(after.learners["network"])[path], of)
    assert f"(learner {expected})" in table


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("predict_with", ["student", "teacher"])
def test_of_student_and_teacher_it_is_the_one_that_predicts(
  tmp_path, monkeypatch, average, predict_with
):
  config = {"members": 1, "method": {"name": "mean_teacher", "predict_with": predict_with}}
  monkeypatch.setattr(initialise.run_folder, "read_config", lambda folder: config)
  (tmp_path / initialise.run_folder.CONFIG).touch()
  theirs = state(1, average=average)
  teacher = state(3).learners["network"].replace(opt_state=())
  theirs = theirs.replace(learners={**theirs.learners, "teacher": teacher})
  checkpoint.Checkpoints(tmp_path).save(theirs, {})
  _, (table,) = start(str(tmp_path), state(2))
  student = "network_average" if average else "network"
  assert f"(learner {student if predict_with == 'student' else 'teacher'})" in table


def test_the_average_of_a_learner_starts_where_it_does(tmp_path):
  theirs = saved(tmp_path)
  after, _ = start(str(tmp_path), state(2, average=True), average=True)
  for name in ("network", "network_average"):
    for path, of in leaves(theirs.learners["network"]).items():
      np.testing.assert_array_equal(leaves(after.learners[name])[path], of)
  # no two leaves of a donated state share one buffer
  kernels = [after.learners[n].params["head"]["kernel"] for n in ("network", "network_average")]
  assert kernels[0].unsafe_buffer_pointer() != kernels[1].unsafe_buffer_pointer()


def test_what_follows_a_learner_starts_where_it_does(tmp_path):
  theirs, own = leaves(saved(tmp_path).learners["network"]), state(2)
  own = own.replace(learners={**own.learners, "teacher": state(3).learners["network"]})
  (at,) = plan({"network": str(tmp_path)}, own.learners, dict).values()
  after, _ = initialised(own, {"network": at._replace(followers=("teacher",))})
  for name in ("network", "teacher"):
    jax.tree.map(np.testing.assert_array_equal, leaves(after.learners[name]), theirs)


def test_part_of_a_run_with_other_classes_and_channels(tmp_path):
  theirs, own = saved(tmp_path), state(2, classes=5, channels=3)
  spec = {"run": str(tmp_path), "take": {"encoder*": "encoder*"}}
  after, (table,) = start(spec, own, classes=5, channels=3)
  first = "encoder1/layer1/conv/kernel"
  before, source = leaves(own.learners["network"]), leaves(theirs.learners["network"])
  for path, of in leaves(after.learners["network"]).items():
    if path != first:
      expected = source if path.startswith("encoder") else before
      np.testing.assert_array_equal(of, expected[path], err_msg=path)
  lines = table.splitlines()
  assert any(
    line.split() == f"{first} reshaped: 1 input channel(s) there, 3 here, inputs='mean'".split()
    for line in lines
  )
  assert any("encoder2 (5 arrays)" in line and line.endswith("taken") for line in lines)
  assert any(
    "decoder1" in line and "left as initialised: take leaves it out" in line for line in lines
  )
  assert lines[-1].endswith("not used: decoder1, head, up1")


def test_a_changed_head_is_left_as_initialised_and_told(tmp_path):
  theirs = saved(tmp_path, bias=dict(head=True), widths=(4, 8, 8), deep_supervision=1)
  own = state(2, classes=7, bias=dict(head=True), widths=(4, 8, 8))
  options = dict(classes=7, bias=dict(head=True), widths=(4, 8, 8))
  after, (table,) = start(str(tmp_path), own, **options)
  before, source = leaves(own.learners["network"]), leaves(theirs.learners["network"])
  for path, of in leaves(after.learners["network"]).items():
    expected = before if path.startswith("head") else source
    np.testing.assert_array_equal(of, expected[path], err_msg=path)
  assert "head (2 arrays)" in table
  assert "left as initialised: 3 class(es) there, 7 here" in table
  assert table.endswith("not used: aux1, head")


def test_a_head_of_deep_supervision_that_the_source_lacks_is_left(tmp_path):
  saved(tmp_path, widths=(4, 8, 8))
  options = dict(widths=(4, 8, 8), deep_supervision=1)
  _, (table,) = start(str(tmp_path), state(2, **options), **options)
  line = next(line for line in table.splitlines() if "aux1" in line)
  assert line.endswith("left as initialised: the source has none")


def test_l2_sp_draws_to_what_was_taken_as_it_was_adapted(tmp_path):
  saved(tmp_path)
  tx = optimiser(name="adam", learning_rate=1e-3, steps=9, accumulate=2, l2_sp=0.1)
  options = dict(classes=5, channels=3, tx=tx)
  own = jax.tree.map(jnp.zeros_like, state(2, **options))
  after, _ = start(str(tmp_path), own, **options)
  learner = after.learners["network"]
  (anchors,) = [
    of
    for of in jax.tree.leaves(learner.opt_state, is_leaf=lambda of: isinstance(of, Anchors))
    if isinstance(of, Anchors)
  ]
  taken = paths.flatten(anchors.taken)
  for path, of in paths.flatten(learner.params).items():
    point = paths.flatten(anchors.points)[path]
    assert taken[path] == (not path.startswith("head"))
    np.testing.assert_array_equal(point, of if taken[path] else 0)
    # no two leaves of a donated state share one buffer
    assert point.unsafe_buffer_pointer() != of.unsafe_buffer_pointer()


def test_l2_sp_without_weights_to_go_back_to_is_refused():
  learners = shapes(tx=optimiser(name="sgd", learning_rate=0.1, steps=9, l2_sp=0.1)).learners
  with pytest.raises(ValueError, match=r"^config\.initialise\.network: is missing, but .*l2_sp"):
    plan({}, learners, dict)
  both = {**shapes().learners, "critic": learners["network"]}
  with pytest.raises(ValueError, match=r"^config\.initialise\.critic: is missing, but .*l2_sp"):
    plan({}, both, dict)


def test_parts_are_taken_under_other_names_and_left_by_none(tmp_path):
  theirs, own = saved(tmp_path), state(2)
  take = {"*": "*", "encoder2": "decoder1", "encoder2/layer1/conv": None, "head": None}
  # encoder2 is 8 wide, the decoder 4
  with pytest.raises(
    ValueError,
    match=r"^config\.initialise\.network: 'encoder2/layer1/norm/(bias|scale)' is \(8,\) here, "
    r"'decoder1/layer1/norm/(bias|scale)' \(4,\); .* in .*; expected",
  ):
    start({"run": str(tmp_path), "take": take}, own)
  take = {"encoder1": "decoder1", "encoder1/layer1/conv": None}
  after, (table,) = start({"run": str(tmp_path), "take": take}, own)
  norm = after.learners["network"].params["encoder1"]["layer1"]["norm"]["scale"]
  np.testing.assert_array_equal(
    norm, theirs.learners["network"].params["decoder1"]["layer1"]["norm"]["scale"]
  )
  assert "taken from decoder1" in table


def test_weights_come_from_a_file_of_nnunets(tmp_path):
  file = tmp_path / "checkpoint_final.pth"
  kernel = np.random.default_rng(0).standard_normal((4, 2, 3, 3)).astype(np.float32)
  name = "encoder.stages.0.0.convs.0"
  arrays = {f"{name}.conv.weight": kernel, f"{name}.norm.weight": kernel[:, 0, 0, 0]}
  torch_files.write(file, {"network_weights": arrays})
  options = dict(name="plain_conv_unet", channels=5)
  spec = {"file": str(file), "format": "nnunet", "inputs": "zero"}
  spec["take"] = {"encoder1/layer1/conv/kernel": "encoder1/layer1/conv/kernel"}
  after, (table,) = start(spec, state(2, **options), **options)
  found = after.learners["network"].params["encoder1"]["layer1"]["conv"]["kernel"]
  np.testing.assert_array_equal(found[..., :2, :], np.moveaxis(kernel, (0, 1), (-1, -2)))
  assert not np.asarray(found)[..., 2:, :].any()
  assert f"1 of 16 arrays from {file} (nnunet):" in table


SMALL = dict(name="encoder_unet", encoder=dict(name="resnet18", width=4), widths=4)


def classifier(folder, blocks=(2, 2, 2, 2), **change) -> str:
  """A file with the narrow ResNet's weights under torchvision's names."""
  arrays = {}
  for name, shape in state_dicts.resnet(blocks, 5).items():
    narrow = tuple(n // 16 if n >= 64 else n for n in shape)
    arrays[name] = np.random.default_rng(len(name)).random(narrow, np.float32)
  np.savez(folder / "x.npz", **{**arrays, **change})
  return {"file": str(folder / "x.npz"), "format": "torchvision"}


def test_a_classifiers_weights_go_into_the_encoder_and_the_rest_is_left(tmp_path):
  own = state(2, **SMALL)
  spec = {**classifier(tmp_path), "inputs": "mean"}
  after, (table,) = start(spec, own, **SMALL)
  theirs = np.load(tmp_path / "x.npz")
  params, stats = (after.learners["network"].params, after.learners["network"].stats)
  kernel = theirs["layer2.1.conv1.weight"]
  block = params["encoder"]["layer2"]["block2"]
  np.testing.assert_array_equal(block["conv1"]["kernel"], np.moveaxis(kernel, (0, 1), (-1, -2)))
  mean = stats["batch_stats"]["encoder"]["bn1"]["mean"]
  np.testing.assert_array_equal(mean, theirs["bn1.running_mean"])
  assert_close(
    params["encoder"]["conv1"]["kernel"][..., 0, :],
    np.moveaxis(theirs["conv1.weight"], 0, -1).sum(0),
  )
  assert "reshaped from conv1: 3 input channel(s) there, 1 here, inputs='mean'" in table
  assert "left as initialised: the source has none" in table
  assert table.endswith("not used: fc")


def test_images_weights_go_into_a_network_of_volumes_if_they_are_to_be_inflated(tmp_path):
  volumes = {**SMALL, "rank": 3, "channels": 3}
  with pytest.raises(ValueError, match=r"expected shapes that .*, inflate='mean' for kernels of"):
    start(classifier(tmp_path), None, **volumes)
  spec = {**classifier(tmp_path), "inflate": "mean"}
  after, (table,) = start(spec, state(2, **volumes), **volumes)
  kernel = np.load(tmp_path / "x.npz")["conv1.weight"]
  own = after.learners["network"].params["encoder"]["conv1"]["kernel"]
  assert own.shape == (7, 7, 7, 3, 4)
  assert_close(np.sum(own, 0), np.moveaxis(kernel, (0, 1), (-1, -2)))
  assert "reshaped from conv1: inflate='mean'" in table
  # and the channels with it
  _, (table,) = start(spec, state(2, **SMALL, rank=3), **SMALL, rank=3)
  assert "3 input channel(s) there, 1 here, inputs='mean', inflate='mean'" in table


def test_a_network_without_an_encoder_takes_no_classifiers_weights(tmp_path):
  with pytest.raises(ValueError, match=r"\(torchvision\) is for a network's encoder, and this one"):
    start(classifier(tmp_path), None)


def test_a_deeper_classifier_is_another_one_and_so_is_a_shallower_one(tmp_path):
  with pytest.raises(
    ValueError,
    match=r"x\.npz \(torchvision\) has 'layer1/block3/conv1/kernel', "
    r".* and \d+ more, which this network lacks: .*take=\{'encoder/\*': '\*'\} to leave what",
  ):
    start(classifier(tmp_path, (3, 4, 6, 3)), None, **SMALL)
  with pytest.raises(
    ValueError, match=r"has no 'encoder/layer1/block2/.*' and 30 more, which this"
  ):
    start(classifier(tmp_path, (1, 1, 1, 1)), None, **SMALL)


@pytest.mark.parametrize(
  ("spec", "options", "message"),
  [
    (
      {},
      {"widths": (4, 12)},
      r"is \(.*12.*\) here, '.*' \(.*8.*\); '.*' is .* in .*; expected",
    ),
    (
      {},
      {"widths": (4, 8, 8)},
      r"\(learner network\) has no '.*', '.*' and \d+ more, which this net",
    ),
    ({"learner": "critic"}, {}, r"has no learner 'critic'; it holds network\."),
    ({"learner": "netwerk"}, {}, r"'netwerk' \(did you mean 'network'\?\)"),
    ({"take": {"encodr*": "*"}}, {}, r"\.take: the pattern 'encodr\*' names no parameter"),
    (
      {"take": {"encoder*": "backbone*"}},
      {},
      r"take\['encoder\*'\]: 'backbone\*' names nothing in",
    ),
    ({"take": {"head": None}}, {}, r": nothing is taken from .*; expected a row of take"),
    ({"take": {"enc*": "*", "*er1": "*"}}, {}, r"'.*' and '.*' both name 'encoder1/"),
    (
      {"inputs": "zero"},
      {"stored": 3},
      r"\.inputs: 'zero', but 3 input channel\(s\) there, 1 here",
    ),
  ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, spec, options, message):
  saved(tmp_path, channels=options.pop("stored", 1))
  with pytest.raises(ValueError, match=rf"^config\.initialise\.network.*{message}"):
    start({"run": str(tmp_path), **spec}, None, **options)


def test_a_learner_that_the_method_lacks_is_refused(tmp_path):
  with pytest.raises(
    ValueError, match=r"initialise\.critic: the method has no such learner; it has"
  ):
    plan({"critic": str(tmp_path)}, shapes().learners, dict)


@pytest.mark.parametrize(
  ("write", "spec", "kind", "message"),
  [
    (None, {"run": "no"}, FileNotFoundError, r"no: there is no such folder"),
    (None, {"run": "."}, FileNotFoundError, r"\.: holds no checkpoint"),
    (None, {"file": "x.pth"}, FileNotFoundError, r"x\.pth: there is no such file"),
    (
      b"PK\x03\x04",
      {"file": "x.pth"},
      ValueError,
      r"x\.pth: is no file of torch\.save, or damaged",
    ),
    ({"state_dict": 1}, {"file": "x.pth"}, ValueError, r"x\.pth: is no checkpoint of nnU-Net v2"),
  ],
)
def test_files_and_folders_that_cannot_be_read_are_told(
  tmp_path, monkeypatch, write, spec, kind, message
):
  monkeypatch.chdir(tmp_path)
  if isinstance(write, bytes):
    (tmp_path / "x.pth").write_bytes(write)
  elif write:
    torch_files.write(tmp_path / "x.pth", write)
  spec = {**spec, **({"format": "nnunet"} if "file" in spec else {})}
  with pytest.raises(kind, match=rf"^config\.initialise\.network: {message}"):
    start(spec, None)


def test_a_checkpoint_that_changed_meanwhile_is_refused(tmp_path):
  saved(tmp_path)
  starts = plan({"network": str(tmp_path)}, shapes().learners, dict)
  checkpoint.Checkpoints(tmp_path).save(state(1, step=4, widths=(4, 6)), {})
  with pytest.raises(ValueError, match=r"^config\.initialise\.network: '.*' is \(.*\) here, "):
    initialised(state(2), starts)


def test_the_stacked_networks_of_an_ensemble_are_refused_as_such(tmp_path):
  saved(run_folders.write(tmp_path / "run", members=2))
  with pytest.raises(ValueError, match=r"^config\.initialise\.network: .*has 2 networks, its con"):
    start(str(tmp_path / "run"), state(0))
