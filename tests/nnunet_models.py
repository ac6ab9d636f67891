"""Model folders as nnU-Net 2 leaves them, put together by hand: a PlainConvUNet of two stages."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import torch_files

STATISTICS = {
  "max": 9.0,
  "mean": 4.0,
  "median": 3.0,
  "min": -1.0,
  "percentile_00_5": 0.0,
  "percentile_99_5": 8.0,
  "std": 2.0,
}
WIDTHS = (2, 3)


def state_dict(random, *, rank=2, inputs=1, outputs=2) -> dict[str, np.ndarray]:
  """The parameters of that network, a convolution a stage, each under its first name alone."""

  def of(*shape):
    return random.standard_normal(shape).astype(np.float32)

  def layer(place, i, o):
    return {
      f"{place}.conv.weight": of(o, i, *(3,) * rank),
      f"{place}.conv.bias": of(o),
      f"{place}.norm.weight": of(o),
      f"{place}.norm.bias": of(o),
    }

  fine, coarse = WIDTHS
  return {
    **layer("encoder.stages.0.0.convs.0", inputs, fine),
    **layer("encoder.stages.1.0.convs.0", fine, coarse),
    **layer("decoder.stages.0.convs.0", 2 * fine, fine),
    "decoder.transpconvs.0.weight": of(coarse, fine, *(2,) * rank),
    "decoder.transpconvs.0.bias": of(fine),
    "decoder.seg_layers.0.weight": of(outputs, fine, *(1,) * rank),
    "decoder.seg_layers.0.bias": of(outputs),
  }


def logits_of(weights, x):
  """PyTorch's forward pass of `state_dict`'s network in 2D, channels first."""

  def conv(place, x, stride=1):
    kernel, bias = weights[f"{place}.weight"], weights[f"{place}.bias"]
    edge = kernel.shape[-1] // 2
    return (
      jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, [(edge, edge)] * 2)
      + bias[None, :, None, None]
    )

  def layer(place, x, stride=1):
    x = conv(f"{place}.conv", x, stride)
    x = (x - x.mean((2, 3), keepdims=True)) / jnp.sqrt(x.var((2, 3), keepdims=True) + 1e-5)
    x = x * weights[f"{place}.norm.weight"][None, :, None, None]
    x += weights[f"{place}.norm.bias"][None, :, None, None]
    return jnp.where(x > 0, x, 0.01 * x)

  skip = layer("encoder.stages.0.0.convs.0", x)
  low = layer("encoder.stages.1.0.convs.0", skip, 2)
  up = jnp.einsum("nchw,coij->nohiwj", low, weights["decoder.transpconvs.0.weight"])
  up = up.reshape(skip.shape) + weights["decoder.transpconvs.0.bias"][None, :, None, None]
  return conv(
    "decoder.seg_layers.0", layer("decoder.stages.0.convs.0", jnp.concatenate([up, skip], 1))
  )


def network(rank, *, old=False) -> dict:
  """What a configuration says of it, as nnU-Net 2.4 does or as those before."""
  kernels, strides = [[3] * rank] * 2, [[1] * rank, [2] * rank]
  if old:
    return {
      "UNet_class_name": "PlainConvUNet",
      "UNet_base_num_features": WIDTHS[0],
      "unet_max_num_features": WIDTHS[1],
      "n_conv_per_stage_encoder": [1, 1],
      "n_conv_per_stage_decoder": [1],
      "num_pool_per_axis": [1] * rank,
      "pool_op_kernel_sizes": strides,
      "conv_kernel_sizes": kernels,
    }
  options = {
    "n_stages": 2,
    "features_per_stage": list(WIDTHS),
    "conv_op": f"torch.nn.modules.conv.Conv{rank}d",
    "kernel_sizes": kernels,
    "strides": strides,
    "conv_bias": True,
    "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{rank}d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
    "n_conv_per_stage": [1, 1],
    "n_conv_per_stage_decoder": [1],
  }
  return {
    "architecture": {
      "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
      "arch_kwargs": options,
      "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
  }


def plans(*, rank=2, inputs=1, scheme="ZScoreNormalization", old=False, **changes) -> dict:
  """Plans with one configuration, "2d" or "3d_fullres", which `changes` change."""
  pictures = {"spacing": [1.0] * rank, "patch_size": [8] * rank}
  resampling = {}
  for kind, order, label in (("data", 3, False), ("seg", 1, True), ("probabilities", 1, False)):
    options = {"is_seg": label, "order": order, "order_z": 0, "force_separate_z": None}
    resampling[f"resampling_fn_{kind}"] = "resample_data_or_seg_to_shape"
    resampling[f"resampling_fn_{kind}_kwargs"] = options
  configuration = {
    "data_identifier": "nnUNetPlans_x",
    "preprocessor_name": "DefaultPreprocessor",
    "batch_size": 2,
    **pictures,
    "median_image_size_in_voxels": [8.0] * rank,
    "normalization_schemes": [scheme] * inputs,
    "use_mask_for_norm": [False] * inputs,
    **resampling,
    **network(rank, old=old),
    "batch_dice": True,
    **changes,
  }
  return {
    "dataset_name": "Dataset001_Small",
    "plans_name": "nnUNetPlans",
    "original_median_spacing_after_transp": [999.0 if rank == 2 else 1.0, 1.0, 1.0],
    "original_median_shape_after_transp": [1 if rank == 2 else 8, 8, 8],
    "image_reader_writer": "NaturalImage2DIO" if rank == 2 else "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "configurations": {"2d" if rank == 2 else "3d_fullres": configuration},
    "experiment_planner_used": "ExperimentPlanner",
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {str(i): STATISTICS for i in range(inputs)},
  }


def dataset(labels=None, *, inputs=1, channel="MR", **more) -> dict:
  """A dataset.json."""
  return {
    "channel_names": {str(i): channel for i in range(inputs)},
    "labels": labels or {"background": 0, "a": 1},
    "numTraining": 5,
    "file_ending": ".png",
    **more,
  }


def write(
  folder: pathlib.Path,
  *,
  plan=None,
  described=None,
  weights=None,
  folds=(0,),
  configuration=None,
  name="checkpoint_final.pth",
  **changes,
) -> pathlib.Path:
  """A model folder; `changes` are of what its checkpoints hold."""
  plan, described = plan or plans(), described or dataset()
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "plans.json").write_text(json.dumps(plan))
  (folder / "dataset.json").write_text(json.dumps(described))
  configuration = configuration or next(iter(plan["configurations"]))
  for fold in folds:
    content = {
      "network_weights": weights or state_dict(np.random.default_rng(sum(map(ord, str(fold))))),
      "optimizer_state": None,
      "grad_scaler_state": None,
      "logging": {"mean_fg_dice": [0.5]},
      "_best_ema": 0.5,
      "current_epoch": 1000,
      "init_args": {
        "plans": plan,
        "configuration": configuration,
        "fold": fold,
        "dataset_json": described,
        "device": torch_files.Call("torch", "device", ("cpu",)),
      },
      "trainer_name": "nnUNetTrainer",
      "inference_allowed_mirroring_axes": (0, 1),
    } | changes
    content = {key: value for key, value in content.items() if value is not ...}
    (folder / f"fold_{fold}").mkdir(exist_ok=True)
    torch_files.write(folder / f"fold_{fold}" / name, content)
  return folder
