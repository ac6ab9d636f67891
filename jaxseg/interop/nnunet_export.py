"""Run folders -> a model folder that nnU-Net's own predictor loads."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg import files, networks, paths
from jaxseg.build import options_of
from jaxseg.data.sources import dataset_json
from jaxseg.feeding import mirroring
from jaxseg.interop import nnunet, torch_writing
from jaxseg.interop.nnunet_folder import DATASET, FINAL, PLANS
from jaxseg.interop.nnunet_import import FIRST, members_of, plans_kept
from jaxseg.interop.nnunet_trainers import STANDARD, STEPS
from jaxseg.networks.blocks import per_axis, per_stage
from jaxseg.planning import Configuration, Plan, Resampling
from jaxseg.planning.architecture import NETWORKS
from jaxseg.planning.nnunet_files import STATISTICS
from jaxseg.planning.nnunet_plans import SCHEMES, written_plan
from jaxseg.planning.settings import REORIENTING
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.runs.foreign import NETWORK

NAME = "nnunet"
# the options of a network that plans tell; of all others nnU-Net has but one value
_SHAPE = ("widths", "kernels", "strides", "depth", "decoder_depth")
_ANY = (
  "name",
  "classes",
  *_SHAPE,
  "run",
  "dtype",
  "deep_supervision",
  "stochastic_depth",
  "dropout",
)
# of the voxels of a picture that has one slice
_FLAT = 999.0


def export(folders: Sequence[pathlib.Path], output, *, kind: str = checkpoint.LATEST) -> str:
  """Writes plans.json, dataset.json and fold_*/checkpoint_final.pth.

  Args:
    folders: run folders, the folds of one configuration or a run alone, which becomes fold 0.
    output: a new folder.
    kind: checkpoint.LATEST or checkpoint.BEST.

  Returns:
    The end of a sentence about what was written.

  Raises FileNotFoundError or ValueError in words, before anything is written, where nnU-Net has no
  such network, preparation or labels.
  """
  output, told = pathlib.Path(output), {folder: run_folder.describe(folder) for folder in folders}
  if output.is_dir() and any(output.iterdir()):
    raise ValueError(f"--output {output}: is not empty; choose another folder.")
  kept = {folder: plans_kept(folder) for folder in folders}
  plans = {folder: _plan(folder, one, kept[folder]) for folder, one in told.items()}
  first = folders[0]
  datasets = {folder: _dataset(folder, one, kept[folder]) for folder, one in told.items()}
  for folder in folders[1:]:
    if (plans[folder], datasets[folder]) != (plans[first], datasets[first]):
      raise ValueError(
        f"{folder}: its plan or labels are not those of {first}, as its normalisation's numbers; "
        "nnU-Net's folds have one plan: export each alone."
      )
  numbers = _numbers(told)
  weights = {folder: _weights(folder, one, kind) for folder, one in told.items()}
  # with lists where a tuple would come back as one from PyTorch's file
  plan, dataset = json.loads(json.dumps([written_plan(plans[first]), datasets[first]]))
  files.writable_folder(output, "--output")
  for folder, one in told.items():
    fold = numbers[folder]
    arrays, momentum = weights[folder]
    content = {
      "network_weights": nnunet.to_state_dict(arrays),
      "optimizer_state": _optimizer(arrays, momentum, one.config["optimiser"]),
      "grad_scaler_state": None,
      "logging": _LOGGING,
      "_best_ema": None,
      "current_epoch": max(1, run_folder.steps_done(folder) // STEPS),
      "init_args": {
        "plans": plan,
        "configuration": next(iter(plans[first].configurations)),
        "fold": fold,
        "dataset_json": dataset,
        "device": "cpu",
      },
      "trainer_name": kept[folder].get("trainer", STANDARD),
      # of no axes nnU-Net asks for the largest
      "inference_allowed_mirroring_axes": _mirrored(folder, one) or None,
    }
    torch_writing.save(output / f"fold_{fold}" / FINAL, content)
  # the folder is one of nnU-Net's once these are there
  files.write_json(output / DATASET, dataset)
  files.write_json(output / PLANS, plan)
  return f"{len(told)} fold(s); nnUNetv2_predict_from_modelfolder (nnU-Net 2.4 and later) takes it"


def _numbers(told: Mapping[pathlib.Path, run_folder.Described]) -> dict[pathlib.Path, int]:
  """The fold that each run becomes: its own, or its place where one has none, as seeds."""
  own = [one.config["data"]["split"].get("fold") for one in told.values()]
  if len(told) == 1 or None in own or len(set(own)) < len(own):
    own = range(len(told))
  return dict(zip(told, own, strict=True))


_LOGGING = {
  name: []
  for name in (
    "mean_fg_dice",
    "ema_fg_dice",
    "dice_per_class_or_region",
    "train_losses",
    "val_losses",
    "lrs",
    "epoch_start_timestamps",
    "epoch_end_timestamps",
  )
}


def _refuse(folder, field: str, value, expected: str) -> None:
  raise ValueError(
    f"{folder}: config.{field} is {value!r:.80}, which nnU-Net cannot do; expected {expected}."
  )


def _plan(folder, told: run_folder.Described, kept: Mapping[str, Any]) -> Plan:
  """The plan that says what a run does; raises ValueError in words where none can."""
  config, options, preparation = told.config, told.config["data"], told.preparation
  network, axes = config["network"], len(options["patch"])
  if network["name"] not in NETWORKS:
    _refuse(folder, "network.name", network["name"], f"one of {', '.join(NETWORKS)}")
  known = options_of(networks.NETWORKS[network["name"]])
  for option, value in network.items():
    if option not in _ANY and value != known[option].default:
      _refuse(folder, f"network.{option}", value, "the default, which is nnU-Net's")
  for field, value, expected in (
    ("method.name", config["method"]["name"], "supervised"),
    ("members", config["members"], 1),
    ("task.name", config["task"]["name"], "segmentation"),
    ("data.crop_nonzero", preparation.crop_nonzero, True),
  ):
    if value != expected:
      _refuse(folder, field, value, repr(expected))
  pictures = told.rank == 2
  told_plan, design = kept.get("plan", {}), kept.get("design", {})
  reader = told_plan.get("reader") or ("NaturalImage2DIO" if pictures else "SimpleITKIO")
  if preparation.orientation != (faces := "RAS" if reader in REORIENTING else "stored"):
    _refuse(folder, "data.orientation", preparation.orientation, f"{faces!r}, as of {reader}")
  if not pictures and axes == 2 and options["slices"] != 0:
    _refuse(folder, "data.slices", options["slices"], "0, the first of the transposed axes")
  spacing = preparation.spacing if axes == told.rank else preparation.spacing[1:]
  if len(spacing) != axes or None in spacing:
    _refuse(folder, "data.spacing", preparation.spacing, f"{axes} numbers of millimetres")
  names, intensities, masked = [], [], []
  for scheme in preparation.normalisation:
    if scheme["name"] not in SCHEMES:
      _refuse(folder, "data.normalise", scheme["name"], f"one of {', '.join(SCHEMES)}")
    if scheme["name"] == "rgb" and scheme.get("maximum", 255.0) not in (None, 255.0):
      _refuse(folder, "data.normalise", scheme, "a maximum of 255")
    if scheme["name"] == "minmax" and scheme.get("signed"):
      _refuse(folder, "data.normalise", scheme, "0 to 1, without signed")
    names.append(scheme["name"])
    masked.append(bool(scheme.get("nonzero")))
    intensities.append(_statistics(scheme))
  if len(told_plan.get("intensities", ())) == len(intensities):
    # of other schemes nothing is made of them, and they come back as they were
    intensities = [
      {**theirs, **ours} if name == "ct" else theirs
      for theirs, ours, name in zip(told_plan["intensities"], intensities, names, strict=True)
    ]
  network = _network(folder, network, axes)
  same = tuple(design.get("spacing", ())) == tuple(spacing)
  patch = tuple(options["patch"])
  name = kept.get("configuration") or ("2d" if axes == 2 else "3d_fullres")
  configuration = Configuration(
    spacing=tuple(spacing),
    median_shape=tuple(design["median_shape"]) if same else patch,
    patch=patch,
    batch=options["batch"],
    **network,
    normalisation=tuple(names),
    masked=tuple(masked),
    batch_dice=bool(config["loss"].get("dice", {}).get("batch", False)),
    identifier=design.get("identifier", f"nnUNetPlans_{name}"),
    previous_stage=design.get("previous_stage"),
    **_resampling(folder, preparation.resampling),
  )
  # of slices' own thickness nothing is known, nor needed
  whole = (_FLAT if pictures else spacing[0], *spacing) if axes == 2 else tuple(spacing)
  shape = (1 if pictures else patch[0], *patch) if axes == 2 else patch
  return Plan(
    dataset=kept.get("dataset", {}).get("name") or "Dataset001_jaxseg",
    name=told_plan.get("name", "nnUNetPlans"),
    planner=told_plan.get("planner", "ExperimentPlanner"),
    reader=reader,
    spacing=tuple(told_plan.get("spacing", whole)),
    shape=tuple(told_plan.get("shape", shape)),
    transpose=_transpose(preparation.transpose),
    configurations={name: configuration},
    intensities=tuple(intensities),
  )


def _transpose(order: Sequence[int]) -> tuple[int, ...]:
  """Of three axes, whose first pictures lack."""
  return (0, *(axis + 1 for axis in order)) if len(order) == 2 else tuple(order) or (0, 1, 2)


def _network(folder, spec: Mapping[str, Any], axes: int) -> dict[str, Any]:
  """The network's options per stage and axis, as plans have them."""
  options = {option: value for option, value in spec.items() if option in _SHAPE}
  net = networks.NETWORKS[spec["name"]](**options)
  stages = len(net.widths)
  heads = spec.get("deep_supervision")
  if heads not in (None, stages - 2):
    _refuse(folder, "network.deep_supervision", heads, "None, a head at every level")
  each = {"kernels": stages, "strides": stages - 1, "depth": stages, "decoder_depth": stages - 1}
  values = {name: per_stage(getattr(net, name), number, name) for name, number in each.items()}
  sizes = {
    name: tuple(tuple(per_axis(of, axes, name)) for of in values[name])
    for name in ("kernels", "strides")
  }
  return {
    "network": spec["name"],
    "widths": tuple(net.widths),
    "kernels": sizes["kernels"],
    "strides": ((1,) * axes, *sizes["strides"]),
    "depth": tuple(values["depth"]),
    "decoder_depth": tuple(values["decoder_depth"]),
  }


def _statistics(scheme: Mapping[str, Any]) -> dict[str, float]:
  """The fingerprint's numbers as far as a scheme has them; nnU-Net takes those of CT alone."""
  out = dict.fromkeys(STATISTICS, 0.0)
  if scheme["name"] == "ct":
    lower, upper, mean = (float(scheme[key]) for key in ("lower", "upper", "mean"))
    out |= {"percentile_00_5": lower, "percentile_99_5": upper, "mean": mean, "median": mean}
    out |= {"min": lower, "max": upper, "std": float(scheme["std"])}
  return out


def _resampling(folder, given: Mapping[str, Any]) -> dict[str, Resampling]:
  for option in ("size", "corners"):
    if given.get(option):
      _refuse(folder, f"data.resampling.{option}", given[option], "none")
  apart = {"order_z": given.get("order_z", 0), "separate_z": given.get("separate_z")}
  orders = {"image": ("order", 3), "label": ("label_order", 1), "scores": ("score_order", 1)}
  return {
    kind: Resampling(given.get(name, usual), **apart) for kind, (name, usual) in orders.items()
  }


def _dataset(folder, told: run_folder.Described, kept: Mapping[str, Any]) -> dict[str, Any]:
  """dataset.json; raises ValueError for labels that nnU-Net doesn't number so."""
  labels = told.labels
  values = [*labels.stored_values, *([] if labels.ignore is None else [labels.ignore])]
  if values != list(range(len(values))):
    raise ValueError(
      f"{folder}: its labels have the values {values}, but nnU-Net writes 0, 1, 2, ... and has "
      "what is ignored last; number them so, and train again."
    )
  if labels.regions and all(len(of) == 1 for of in labels.regions):
    raise ValueError(
      f"{folder}: its regions {', '.join(labels.names)} unite no values, which nnU-Net takes for "
      "labels, with another head; train with labels, or on a region of several."
    )
  ending = kept.get("dataset", {}).get("file_ending") or (".png" if told.rank == 2 else ".nii.gz")
  described = dataset_json.described(labels)
  described.pop("mirror_pairs", None)
  return {
    "channel_names": {str(i): name for i, name in enumerate(told.channels)},
    **described,
    "numTraining": kept.get("numTraining") or _cases(folder),
    "file_ending": ending,
  }


def _cases(folder) -> int:
  sides = run_folder.read_dataset(folder, {"training": list, "validation": list})
  return len(sides["training"]) + len(sides["validation"])


def _mirrored(folder, told: run_folder.Described) -> tuple[int, ...]:
  flips = mirroring(
    told.config, told.labels, tuple(told.config["data"]["patch"]), told.preparation.code
  )
  if flips["swap"] and flips["swap_axis"] in flips["mirror_axes"]:
    # its names would not swap
    return tuple(axis for axis in flips["mirror_axes"] if axis != flips["swap_axis"])
  return flips["mirror_axes"]


def _weights(folder, told: run_folder.Described, kind: str):
  """The weights that predict, and the optimiser's momentum, by our paths."""
  average = f"{NETWORK}_average"
  learners = checkpoint.load_learners(folder, kind)
  learner = learners[average if average in learners else NETWORK]
  arrays = {name: np.asarray(of, np.float32) for name, of in paths.flatten(learner.params).items()}
  buffers = {} if average in learners else _momentum(folder, kind)
  if told.config["data"]["prior"]:
    arrays = _of_labels(folder, arrays, told)
    buffers = _of_labels(folder, buffers, told, gradient=True)
  return arrays, buffers


def _of_labels(
  folder, arrays: dict[str, np.ndarray], told: run_folder.Described, *, gradient: bool = False
) -> dict[str, np.ndarray]:
  """The first layer for the labels of a first stage, as nnU-Net's has it: `prior_weights` back."""
  first, channels = next((name for name in FIRST if name in arrays), None), len(told.channels)
  if first is None:
    return arrays
  if told.labels.regions is not None:
    matrix = members_of(told.labels)
    by = np.linalg.inv(matrix) if gradient else matrix.T
    image, prior = np.split(arrays[first], [channels], -2)
    moved = np.einsum("vr,...ro->...vo", by, prior).astype(image.dtype)
    return {**arrays, first: np.concatenate([image, moved], -2)}
  if arrays[first][..., channels, :].any():
    raise ValueError(
      f"{folder}: is a cascade that has learnt from the background of its first stage, which "
      "nnU-Net's are not given; one that was imported and not trained since can be exported."
    )
  return {**arrays, first: np.delete(arrays[first], channels, -2)}


def _momentum(folder, kind: str) -> dict[str, np.ndarray]:
  """Path -> SGD's buffer in a run's checkpoint; {} of other optimisers."""
  _, flat = checkpoint.newest(folder, kind)
  place = f"learners/{NETWORK}/opt_state/"
  found = {name: of for name, of in flat.items() if name.startswith(place) and "/trace/" in name}
  return {name.rpartition("/trace/")[2]: np.asarray(of) for name, of in found.items()}


def _optimizer(arrays, momentum, options: Mapping[str, Any]) -> dict[str, Any] | None:
  """PyTorch's state of SGD; None where the run has no momentum."""
  if not momentum or options["name"] != "sgd":
    return None
  order, steps = nnunet.in_order(arrays), nnunet.decoder_steps(arrays)
  state = {
    i: {"momentum_buffer": nnunet.given_back_as(path, np.asarray(momentum[path]), steps)}
    for i, path in enumerate(order)
    # what is frozen for good has none, what has not learned yet none but zeros
    if path in momentum and momentum[path].any()
  }
  group = {
    "lr": float(options["learning_rate"]),
    "momentum": float(options.get("momentum", 0.0)),
    "dampening": 0,
    "weight_decay": float(options["l2"] or options["weight_decay"]),
    "nesterov": bool(options.get("nesterov", False)),
    "maximize": False,
    "foreach": None,
    "differentiable": False,
    "fused": None,
    "initial_lr": float(options["learning_rate"]),
    "params": list(range(len(order))),
  }
  return {"state": state, "param_groups": [group]}
