"""Scores of candidates that are not trained: a config -> its network and batches -> a number."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import target
from jaxseg.build import plain
from jaxseg.compose import networks_by_role
from jaxseg.config import networks
from jaxseg.data.pool import Feeders
from jaxseg.evaluation.while_training import validate
from jaxseg.experiment import Experiment, experiment, weighed
from jaxseg.method import Learner, forward
from jaxseg.methods.averaged import SUFFIX
from jaxseg.methods.searching import NETWORK
from jaxseg.objectives import losses_by_role
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.search import choice, elastic, zero_cost
from jaxseg.step import halves


def measured(config: Mapping[str, Any], spec: Mapping[str, Any]) -> float:
  """The score of an evaluation's `measure`, for a trial's complete config."""
  run = experiment(dict(config))
  # as a training tells them
  for sentence in run.notes:
    print(sentence, flush=True)
  options = {name: value for name, value in spec.items() if name != "name"}
  return MEASURES[spec["name"]](run, **options)


def batches_of(run: Experiment, count: int) -> list[dict[str, Any]]:
  """The main stream's first batches, as training would see them."""
  feeders = Feeders([run.streams], cache=run.config["data"]["cache"])
  store, seed = feeders.store(), np.uint32(run.config["seed"])
  batch = jax.jit(halves(run, run.layout, None)[0])
  return [
    batch(step, store, feeders.element(step, run.layout.slots)[0], seed)[0] for step in range(count)
  ]


def _network(run: Experiment, batch: Mapping[str, Any]):
  """(apply, params): its first weights, and how it is applied to them, without noise."""
  image = batch["image"]
  variables = dict(run.network.init(jax.random.key(run.config["seed"]), image, train=True))
  params = variables.pop("params")

  def apply(params, image, **settings):
    return forward(run.network, params, variables, image, **settings)[0]["logits"]

  return apply, params


def synflow(run: Experiment, *, batches: int = 1) -> float:
  """`zero_cost.synflow`, which needs no data but their shape."""
  del batches
  apply, params = _network(run, shape := batches_of(run, 1)[0])
  return zero_cost.synflow(apply, params, (1, *shape["image"].shape[1:]))


def naswot(run: Experiment, *, batches: int = 4) -> float:
  """`zero_cost.naswot` of the samples of so many batches; norms by the batch's own statistics."""
  several = batches_of(run, batches)
  apply, params = _network(run, several[0])
  images = jnp.concatenate([batch["image"] for batch in several])

  def with_statistics(params, image):
    return apply(params, image, update_stats=True, train=False)

  return zero_cost.naswot(with_statistics, params, images)


def gradient_norm(run: Experiment, *, batches: int = 1) -> float:
  """`zero_cost.gradient_norm` of the config's loss."""
  several = batches_of(run, batches)
  apply, params = _network(run, several[0])
  regions = run.main.dataset.labels.regions is not None
  loss = losses_by_role(weighed(run.config, run.streams)[0], regions=regions)["loss"]

  def objective(params, batch):
    logits = apply(params, batch["image"], update_stats=True, train=False)
    return loss(logits, target(batch))

  return zero_cost.gradient_norm(objective, params, several)


def shared(run: Experiment, *, folder: str) -> float:
  """The config's metric of the watched cases, with a supernet's weights where the network's lie.

  Args:
    run: of a network of cells, of a genotype that the supernet holds; or of a "plain_conv_unet"
      that lies in one that `sandwich` has trained.
    folder: run folder of the supernet.
  """
  place, dataset = pathlib.Path(folder), run.main.dataset
  of, network = run_folder.read_config(place), run.config["network"]
  where = f"config.search.evaluation.run: {place}"
  told = run_folder.describe(place)
  networks.check_images(where, run.config, dataset.labels, dataset.channels, told)
  _, learners = checkpoint.newest_learners(place)
  weights = learners.get(NETWORK + SUFFIX, learners[NETWORK])
  supernet = networks_by_role(of, run.task.channels)[NETWORK]
  if of["network"]["name"] == "cell_supernet" and "genotype" in network:
    cells = supernet.choices(len(run.patch))
    _check_alike(run.network, supernet, ("features", "depth", "double", "normal_cells"), place)
    if network["genotype"]["space"] != cells.kind:
      raise ValueError(
        f"config.search.evaluation.run: {place}: holds cells of '{cells.kind}', and the candidate "
        f"is of '{network['genotype']['space']}'; expected the run of a supernet of its space."
      )
    mix = choice.one_hot(cells, network["genotype"])
    stats = _statistics_of(run, supernet, weights, mix)

    def apply(state, batch):
      variables = {"params": weights.params, **stats}
      return {"logits": supernet.apply(variables, batch["image"], mix)["logits"]}

  elif of["method"]["name"] == "sandwich" and network["name"] == of["network"]["name"]:
    wide = {name: plain(network[name]) for name in ("widths", "kernels")}
    stages = len(wide["widths"])
    kernels = wide["kernels"]
    wide["kernels"] = kernels if isinstance(kernels, tuple) else (kernels,) * stages
    _check_alike(run.network, supernet, ("depth", "decoder_depth", "norm", "activation"), place)
    params = elastic.cut(weights.params, wide)

    def apply(state, batch):
      return {"logits": run.network.apply({"params": params}, batch["image"])["logits"]}

  else:
    raise ValueError(
      f"config.search.evaluation.run: {folder}: its network '{of['network']['name']}', trained by "
      f"'{of['method']['name']}', has no weights for '{network['name']}'; expected the run of a "
      "cell_supernet for a network of a genotype, or one of 'sandwich' for a plain_conv_unet."
    )
  return validate(run, jax.jit(apply), None, run.watched_cases).mean


def _check_alike(network, supernet, options, place: pathlib.Path) -> None:
  """Raises ValueError where the candidate has another option than the weights were learnt for."""
  for option in options:
    ours, theirs = (getattr(of, option, None) for of in (network, supernet))
    several = [value for value in (ours, theirs) if isinstance(value, tuple)]
    if ours is None or theirs is None or ours == theirs:
      continue
    # one number is that of all stages
    if len(several) == 1 and {*several[0]} == {ours, theirs} - {several[0]}:
      continue
    raise ValueError(
      f"config.search.evaluation.run: {place}: its network has {option}={theirs}, the candidate "
      f"{ours}, which its weights say nothing of; expected the same, or another evaluation."
    )


def _statistics_of(run: Experiment, supernet, weights, mix) -> dict[str, Any]:
  """The norms' running statistics of one architecture: those that are stored are of the mixture."""
  if not weights.stats.get(_STATISTICS):
    return weights.stats
  return settle(supernet, weights, mix, [of["image"] for of in batches_of(run, _SETTLING)])


def settle(supernet, weights: Learner, mix, images: Sequence[jax.Array]) -> dict[str, Any]:
  """Statistics of a supernet's norms over batches that go through one of its architectures.

  Nothing of the statistics that are stored is left in them; later batches weigh more, as in
  training.
  """

  @jax.jit
  def after(stats, image):
    options = {"update_stats": True, "train": False}
    return forward(supernet, weights.params, stats, image, mix, **options)[1]

  def filled(number: float):
    of = jax.tree.map(lambda x: jnp.full_like(x, number), weights.stats[_STATISTICS])
    return after({**weights.stats, _STATISTICS: of}, images[0])

  # a running statistic is kept * what it was + (1 - kept) * the batch's
  stats, ones = filled(0.0), filled(1.0)
  kept = jax.tree.map(lambda a, b: a - b, ones[_STATISTICS], stats[_STATISTICS])
  for image in images[1:]:
    stats = after(stats, image)
  whole = jax.tree.map(lambda x, part: x / (1 - part ** len(images)), stats[_STATISTICS], kept)
  return {**stats, _STATISTICS: whole}


# how many batches they are of
_SETTLING = 50
_STATISTICS = "batch_stats"
MEASURES: dict[str, Callable[..., float]] = {
  "gradient_norm": gradient_norm,
  "naswot": naswot,
  "shared": shared,
  "synflow": synflow,
}
