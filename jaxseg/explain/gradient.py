"""The gradient of the score with respect to the image."""

import functools

import jax

from jaxseg.explain.target import Apply, Attribution, score


@functools.partial(jax.jit, static_argnames="apply")
def gradient(apply: Apply, params, image, target) -> Attribution:
  """How the score changes with each voxel, (b, *space, c) (Simonyan et al., arXiv 1312.6034).

  Args:
    apply: (params, image) -> {"logits": ...}, not compiled.
    params: of the network.
    image: (b, *space, c).
    target: (b, *space, k) weights of the logits, see `target.score`.
  """
  return Attribution(jax.grad(lambda x: score(apply(params, x), target))(image))
