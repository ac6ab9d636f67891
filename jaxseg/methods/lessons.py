"""What a student compares with its teacher, and which of several teachers a sample is taught by."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import samples
from jaxseg.batch import Batch
from jaxseg.build import suggestion
from jaxseg.losses import distillation as distances
from jaxseg.method import Learner, forward
from jaxseg.methods.labelled import UNLABELLED
from jaxseg.networks.blocks.options import choice
from jaxseg.networks.several import Several

HELD_OUT, MEAN, DRAWN = "held_out", "mean", "drawn"


class Comparison(NamedTuple):
  """One way of comparing two networks' outputs.

  Attributes:
    describe: the teacher's outputs -> what the student is to come near.
    distance: (the student's outputs, that, kernels of `kernels`) -> float32 scalar.
  """

  describe: Callable[[Mapping[str, Any]], Any]
  distance: Callable[[Mapping[str, Any], Any, Mapping[str, jax.Array]], jax.Array]


def comparisons(
  pairs: Mapping[str, str], *, temperature: float, places_temperature: float, sigmoid: bool
) -> dict[str, Comparison]:
  """Every way, by the option of `distillation` that weighs it.

  `pairs` are the student's outputs and the teacher's that belong together, the rest as there.
  """
  soft = {"temperature": temperature, "sigmoid": sigmoid}
  warm = {"temperature": places_temperature}

  def total(distance: Callable, taught) -> jax.Array:
    return sum(distance(mine, of) for mine, of in zip(pairs, taught, strict=True))

  return {
    "logits": Comparison(
      lambda outputs: distances.softened(outputs["logits"], **soft),
      lambda outputs, taught, _: distances.logits_distance(outputs["logits"], taught, **soft),
    ),
    "places": Comparison(
      lambda outputs: distances.places(outputs["logits"], **warm),
      lambda outputs, taught, _: distances.places_distance(outputs["logits"], taught, **warm),
    ),
    "attention": Comparison(
      lambda outputs: [distances.attention_map(outputs[theirs]) for theirs in pairs.values()],
      lambda outputs, taught, _: total(
        lambda mine, of: distances.attention_distance(outputs[mine], of), taught
      ),
    ),
    "features": Comparison(
      lambda outputs: [jnp.asarray(outputs[theirs], jnp.float32) for theirs in pairs.values()],
      lambda outputs, taught, kernels: total(
        lambda mine, of: distances.features_distance(outputs[mine], of, kernels.get(mine)), taught
      ),
    ),
  }


def check(weights: Mapping[str, Any], pairs: Mapping[str, str], **temperatures: float) -> None:
  """Raises ValueError for options of `distillation` that teach nothing, or miss each other."""
  for name, value in temperatures.items():
    if not value > 0:
      raise ValueError(f"distillation: {name} is {value}; expected a number above 0.")
  for name, value in weights.items():
    if not callable(value) and value < 0:
      raise ValueError(f"distillation: {name} weighs {value}; expected a number from 0.")
  if set(weights) <= {"supervised"}:
    raise ValueError(
      "distillation: logits, places, attention and features all weigh 0, so that nothing is learnt "
      "from the teacher; expected one above 0, or the method 'supervised'."
    )
  for name in ("attention", "features"):
    if name in weights and not pairs:
      raise ValueError(
        f"distillation: {name} without between; expected the outputs to compare, as "
        "between=('bottleneck', 'decoder')."
      )
  if pairs and not {"attention", "features"} & set(weights):
    raise ValueError(
      f"distillation: between={tuple(pairs)}, but attention and features weigh 0; expected one of "
      "them above 0."
    )


def check_teachers(teachers: str, number: int | None, *, features: bool) -> None:
  """Raises ValueError for an option `teachers` that does not suit `number`, None for one."""
  choice(teachers, (HELD_OUT, MEAN, DRAWN), "distillation: teachers")
  if number is None and teachers != HELD_OUT:
    raise ValueError(
      f"distillation: teachers='{teachers}', but there is one; expected networks.teacher="
      "dict(runs=FOLDER), several networks, or to leave the option out."
    )
  if number and features and teachers == MEAN:
    raise ValueError(
      "distillation: teachers='mean' with features, whose channels mean something else in each "
      "network; expected 'held_out' or 'drawn'."
    )


def check_pairs(pairs: Mapping[str, str], ours: Mapping, theirs: Mapping) -> None:
  """Raises ValueError for outputs that there are not, or that lie on different grids.

  `ours` and `theirs` are shapes of the student's and the teacher's outputs for the same images.
  """
  for pair in pairs.items():
    shapes = []
    for who, name, outputs in zip(("network", "teacher"), pair, (ours, theirs), strict=True):
      known = [key for key, of in outputs.items() if hasattr(of, "shape")]
      if name not in known:
        raise ValueError(
          f"config.method.between: the {who} gives no '{name}'{suggestion(name, known)}; it gives "
          f"{', '.join(sorted(known))}."
        )
      shapes.append(outputs[name].shape[1:-1])
    if shapes[0] != shapes[1]:
      raise ValueError(
        f"config.method.between: '{pair[0]}' of the network has {shapes[0]} voxels for a patch, "
        f"'{pair[1]}' of the teacher {shapes[1]}; expected outputs of one size, which may have two "
        "names, between={STUDENTS: TEACHERS}."
      )


def kernels(
  key, ours: Mapping, theirs: Mapping, pairs: Mapping[str, str], *, number: int | None
) -> dict[str, jax.Array]:
  """The 1x1 convolutions from the student's features to the teacher's: output -> (in, out).

  (number, in, out) for several teachers; of one, None, only where the numbers of channels differ.
  """
  check_pairs(pairs, ours, theirs)
  made = {}
  for at, (mine, yours) in enumerate(pairs.items()):
    shape = ours[mine].shape[-1], theirs[yours].shape[-1]
    if number is None and shape[0] == shape[1]:
      continue
    start = nn.initializers.lecun_normal(batch_axis=(0,))
    kernel = start(jax.random.fold_in(key, at), (number or 1, *shape), jnp.float32)
    made[mine] = kernel if number else kernel[0]
  return made


def of_samples(kernels: Mapping[str, jax.Array], shares) -> dict[str, jax.Array]:
  """The kernels of each sample's teacher, (b, in, out); as they are if there is one."""
  if shares is None:
    return dict(kernels)
  return {name: jnp.einsum("bk,kcd->bcd", shares, of) for name, of in kernels.items()}


def images(batch: Batch) -> tuple[jax.Array, jax.Array]:
  """Images that teach, joined; of each the fold that holds it out, -1 for none."""
  parts = _streams(batch)
  patches = [part["image"].shape[1:] for part in parts]
  if patches[0] != patches[-1]:
    raise ValueError(
      f"config.streams.{UNLABELLED}.patch: {patches[1][:-1]} with {patches[1][-1]} channel(s), the "
      f"main stream's {patches[0][:-1]} with {patches[0][-1]}; expected the same."
    )
  of = [part["image"] for part in parts]
  folds = [part.get("fold", jnp.full(len(part["image"]), -1)) for part in parts]
  return tuple(samples.joined(*x) for x in (of, folds))


def labelled(outputs: Any, batch: Batch) -> Any:
  """Of the outputs for all images that teach those of the images with labels."""
  counts = [len(part["image"]) for part in _streams(batch)]
  return jax.tree.map(lambda x: samples.apart(x, counts)[0], outputs)


def _streams(batch: Batch) -> list[Batch]:
  return [batch, *([batch[UNLABELLED]] if UNLABELLED in batch else [])]


def shapes(network: nn.Module, images: jax.Array) -> dict[str, Any]:
  """The shapes of a network's outputs for images."""

  def run(images):
    variables = network.init(jax.random.key(0), images, train=True)
    return network.apply(variables, images, train=False)

  return jax.eval_shape(run, images)


def taught(
  teacher: nn.Module | Several, of: Learner, images: jax.Array, shares, describe: Callable
) -> Any:
  """What `describe` says of a teacher's outputs, of several the mean by `shares`; no gradient."""
  if isinstance(teacher, Several):
    said = teacher.described({"params": of.params, **of.stats}, images, shares, describe)
  else:
    said = describe(forward(teacher, of.params, of.stats, images)[0])
  return jax.lax.stop_gradient(said)


def shares(key, folds, *, number: int, teachers: str, otherwise: str) -> jax.Array:
  """(b, number): how much of what a sample is taught comes from each teacher.

  Args:
    key: of the draw.
    folds: (b,), the teacher that never saw a sample's case, -1 for none or all of them.
    number: of teachers.
    teachers: HELD_OUT, MEAN or DRAWN.
    otherwise: MEAN or DRAWN, for samples without a fold where HELD_OUT is asked for.
  """
  drawn = jax.nn.one_hot(jax.random.randint(key, folds.shape, 0, number), number)
  every = jnp.full((*folds.shape, number), 1 / number)
  if teachers != HELD_OUT:
    return drawn if teachers == DRAWN else every
  other = drawn if otherwise == DRAWN else every
  return jnp.where(folds[:, None] >= 0, jax.nn.one_hot(folds, number), other)
