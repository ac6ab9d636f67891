"""Label maps from noise without a critic: a variational autoencoder of the training cases'."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.losses import Loss
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import critics, draws
from jaxseg.methods.critics import NETWORK
from jaxseg.methods.labelled import value
from jaxseg.schedules import Schedule

ENCODER = "encoder"


def mask_vae(
  network: nn.Module,
  encoder: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  divergence: float | Schedule = 1e-3,
  sigmoid: bool = False,
) -> Method:
  """Minimises `loss` of the maps that come back + divergence * their code's distance from N(0, 1).

  `encoder` gives each label map a normal distribution, a number drawn of which `network` makes the
  map again (Kingma, Welling, 1312.6114). Where labels have no weight, the encoder is shown nothing.
  Both learn by one optimiser. `apply` makes maps of the noise that `draws.key_of` tells. Metrics:
  `reconstruction` and `divergence`.

  Args:
    network: (image for its size, noise) -> {"logits"}, as `mask_generator`.
    encoder: maps -> {"mean", "log_variance"}, as `mask_encoder`, of as many numbers as the noise.
    loss: (logits, Target) -> scalar, a mean over voxels.
    optimiser: of both.
    divergence: weight of the Kullback-Leibler divergence, summed over the code's numbers and
      averaged over samples, or a schedule of it.
    sigmoid: the labels are regions.
  """

  def shown(batch, logits):
    target = batch_module.target(batch)
    return critics.judged_maps(jnp.zeros_like(logits), target, sigmoid=sigmoid)[1]

  def init(key, batch):
    latent = getattr(network, "latent", 0)
    if not latent or getattr(encoder, "latent", 0) != latent:
      raise ValueError(
        f"mask_vae: the network's latent (config.network) is {latent or 'missing'}, the encoder's "
        f"(config.networks.encoder) {getattr(encoder, 'latent', 'missing')}; expected the same "
        "number, of mask_generator and mask_encoder."
      )
    noise = jnp.zeros((len(batch["image"]), latent), jnp.float32)
    net = learner(network, optimiser, key, batch["image"], noise)

    def maps():
      logits = forward(network, net.params, net.stats, batch["image"], noise)[0]["logits"]
      return shown(batch, logits)

    seen = jax.eval_shape(maps)
    theirs = learner(encoder, None, jax.random.fold_in(key, 1), jnp.zeros(seen.shape, seen.dtype))
    both = {NETWORK: net.params, ENCODER: theirs.params}
    # one optimiser has the parameters of both
    net = net.replace(opt_state=optimiser.init(both))
    net = net.replace(params=both, stats={NETWORK: net.stats, ENCODER: theirs.stats})
    return State(jnp.zeros((), jnp.int32), {NETWORK: net})

  def train_step(state, batch, key):
    current, target = state.learners[NETWORK], batch_module.target(batch, state.step)
    weight, (drawn, dropped) = value(divergence, state.step), jax.random.split(key)
    logits = jax.eval_shape(
      lambda: forward(
        network, current.params[NETWORK], current.stats[NETWORK], batch["image"], key=key
      )[0]["logits"]
    )
    maps = shown(batch, logits)

    def objective(params):
      code, of_encoder = forward(
        encoder, params[ENCODER], current.stats[ENCODER], maps, key=dropped, update_stats=True
      )
      mean, log_variance = code["mean"], code["log_variance"]
      noise = mean + jnp.exp(log_variance / 2) * jax.random.normal(drawn, mean.shape)
      outputs, of_network = forward(
        network, params[NETWORK], current.stats[NETWORK], batch["image"], noise, update_stats=True
      )
      apart = (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance).sum(-1).mean() / 2
      back = loss(outputs["logits"], target)
      stats = {NETWORK: of_network, ENCODER: of_encoder}
      return back + weight * apart, (stats, {"reconstruction": back, "divergence": apart})

    net, metrics = descend(optimiser, current, objective)
    return state.replace(step=state.step + 1, learners={NETWORK: net}), metrics

  def apply(state, batch):
    net = state.learners[NETWORK]
    of = net.params[NETWORK], net.stats[NETWORK]
    return forward(network, *of, batch["image"], key=draws.key_of(batch))[0]

  return Method(init, train_step, apply)
