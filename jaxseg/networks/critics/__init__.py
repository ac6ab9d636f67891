"""Networks that judge: (b, *space, channels) -> {"score": ..., features}."""

from jaxseg.networks.critics.patch_critic import PatchCritic

# config name -> network: a new critic is a new row
CRITICS = {
  "patch_critic": PatchCritic,
}

__all__ = ["CRITICS", "PatchCritic"]
