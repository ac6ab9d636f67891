"""The entry "architecture" of nnU-Net's plans: a network by the names of PyTorch's classes."""

from collections.abc import Mapping

from jaxseg.planning.plans import Configuration
from jaxseg.planning.value_checks import expect, whole

_ROOM = "dynamic_network_architectures.architectures.unet"
# our name -> nnU-Net's class and its name for the depth of the encoder's stages
NETWORKS = {
  "plain_conv_unet": (f"{_ROOM}.PlainConvUNet", "n_conv_per_stage"),
  "resenc_unet": (f"{_ROOM}.ResidualEncoderUNet", "n_blocks_per_stage"),
}
# where earlier versions of the library, and nnU-Net for its old plans, have the class
_MOVED = {
  "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet": NETWORKS[
    "resenc_unet"
  ][0]
}
# how an nnU-Net before 2.4 describes a network; the first names its class
OLD = (
  "UNet_class_name",
  "UNet_base_num_features",
  "unet_max_num_features",
  "n_conv_per_stage_encoder",
  "n_conv_per_stage_decoder",
  "num_pool_per_axis",
  "pool_op_kernel_sizes",
  "conv_kernel_sizes",
)


def _fixed(rank: int) -> dict:
  """The options that are the same in all of nnU-Net's plans of a rank."""
  return {
    "conv_op": f"torch.nn.modules.conv.Conv{rank}d",
    "conv_bias": True,
    "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{rank}d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
  }


def to_architecture(configuration: Configuration) -> dict:
  """The network of a configuration, in nnU-Net's words and order."""
  network, depth = NETWORKS[configuration.network]
  fixed = _fixed(configuration.rank)
  options = {
    "n_stages": len(configuration.widths),
    "features_per_stage": configuration.widths,
    "conv_op": fixed.pop("conv_op"),
    "kernel_sizes": configuration.kernels,
    "strides": configuration.strides,
    depth: configuration.depth,
    # nnU-Net counts the decoder's stages from the coarsest
    "n_conv_per_stage_decoder": configuration.decoder_depth[::-1],
    **fixed,
  }
  return {
    "network_class_name": network,
    "arch_kwargs": options,
    "_kw_requires_import": ("conv_op", "norm_op", "dropout_op", "nonlin"),
  }


def from_old(entry: Mapping, where: str) -> dict:
  """A configuration of an nnU-Net before 2.4 in the words of today's.

  Raises ValueError that names the field where one is missing or the network is another.
  """
  missing = [field for field in OLD if field not in entry and field != "num_pool_per_axis"]
  if missing:
    raise ValueError(
      f"{where}: the field '{missing[0]}' is missing, which plans of an nnU-Net before 2.4 have; "
      "copy the file again, or plan again."
    )
  known = {path.rpartition(".")[2]: (path, depth) for path, depth in NETWORKS.values()}
  name = entry["UNet_class_name"]
  expect(
    entry, "UNet_class_name", lambda of: of in tuple(known), f"one of {', '.join(known)}", where
  )
  for field in ("UNet_base_num_features", "unet_max_num_features"):
    expect(entry, field, whole, "a positive whole number", where)
  several = isinstance(entry["n_conv_per_stage_encoder"], list)
  expect(entry, "n_conv_per_stage_encoder", lambda _: several, "a number per stage", where)
  stages, (path, depth) = len(entry["n_conv_per_stage_encoder"]), known[name]
  least, most = entry["UNet_base_num_features"], entry["unet_max_num_features"]
  options = {
    "n_stages": stages,
    "features_per_stage": [min(least * 2**stage, most) for stage in range(stages)],
    "kernel_sizes": entry["conv_kernel_sizes"],
    "strides": entry["pool_op_kernel_sizes"],
    depth: entry["n_conv_per_stage_encoder"],
    "n_conv_per_stage_decoder": entry["n_conv_per_stage_decoder"],
  }
  rest = {field: value for field, value in entry.items() if field not in OLD}
  return rest | {"architecture": {"network_class_name": path, "arch_kwargs": options}}


def from_architecture(entry: Mapping, where: str) -> dict:
  """Network, widths, kernels, strides and depths of an entry "architecture".

  Raises ValueError that names the option for networks and layers that are not nnU-Net's own.
  """
  where = f"{where}: architecture"
  if not isinstance(entry, Mapping) or not {"network_class_name", "arch_kwargs"} <= set(entry):
    raise ValueError(f"{where}: expected network_class_name and arch_kwargs; plan again.")
  known = {network: (name, depth) for name, (network, depth) in NETWORKS.items()}
  if not isinstance(entry["arch_kwargs"], Mapping):
    raise ValueError(
      f"{where}: arch_kwargs is {entry['arch_kwargs']!r}; expected a network's options."
    )
  path = entry["network_class_name"]
  path = _MOVED.get(path, path) if isinstance(path, str) else path
  if path not in tuple(known):
    raise ValueError(
      f"{where}: network_class_name '{path}' is unknown; expected one of {', '.join(known)}."
    )
  name, depth = known[path]
  options = dict(entry["arch_kwargs"])
  shape = (
    "n_stages",
    "features_per_stage",
    "kernel_sizes",
    "strides",
    depth,
    "n_conv_per_stage_decoder",
  )
  missing = [option for option in shape if option not in options]
  if missing:
    raise ValueError(f"{where}: '{missing[0]}' is missing; plan again.")
  expect(options, "n_stages", whole, "a positive whole number", where)
  stages = options["n_stages"]
  values = {option: _frozen(options.pop(option)) for option in shape[1:]}
  options.pop("n_stages")
  for option, value in values.items():
    expected = stages - (option == "n_conv_per_stage_decoder")
    if not isinstance(value, tuple) or len(value) != expected:
      raise ValueError(f"{where}: {option} is {value}; expected {expected} entries, one per stage.")
  strides = values["strides"]
  rank = len(strides[0]) if isinstance(strides[0], tuple) else 0
  for option in ("strides", "kernel_sizes"):
    for sizes in values[option]:
      if rank not in (2, 3) or not _sizes(sizes, rank):
        raise ValueError(
          f"{where}: {option} holds {sizes}; expected a positive whole number for each axis."
        )
  for option in ("features_per_stage", depth, "n_conv_per_stage_decoder"):
    if not all(map(whole, values[option])):
      raise ValueError(f"{where}: {option} is {values[option]}; expected positive whole numbers.")
  if set(strides[0]) != {1}:
    raise ValueError(f"{where}: the first stride is {strides[0]}; expected 1 on all axes.")
  fixed = _fixed(len(strides[0]))
  for option, value in options.items():
    if option not in fixed or value != fixed[option]:
      raise ValueError(
        f"{where}: {option} is {value!r}, which this project's {name} doesn't have; expected "
        f"{fixed.get(option, 'no such option')!r}."
      )
  return {
    "network": name,
    "widths": values["features_per_stage"],
    "kernels": values["kernel_sizes"],
    "strides": strides,
    "depth": values[depth],
    "decoder_depth": values["n_conv_per_stage_decoder"][::-1],
  }


def _sizes(value, rank: int) -> bool:
  return isinstance(value, tuple) and len(value) == rank and all(map(whole, value))


def _frozen(value):
  return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
