"""nnU-Net's plans, read and written: nnUNetPlans.json and those of its presets.

Written are those of nnU-Net 2.4 and later, in which a configuration describes its network under
"architecture"; read are those of every nnU-Net 2. What this project cannot do is refused in words,
not passed over.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

from jaxseg import files
from jaxseg.data.prepared.resizing import ORDERS
from jaxseg.planning.architecture import OLD, from_architecture, from_old, to_architecture
from jaxseg.planning.mirroring_file import read_mirroring, write_mirroring
from jaxseg.planning.nnunet_files import (
  STATISTICS,
  check_fields,
  list_channels,
  load,
  number_channels,
  parse_or_refuse,
)
from jaxseg.planning.plans import Configuration, Plan, Resampling
from jaxseg.planning.value_checks import among, expect, order, positive, several, whole

SCHEMES = {
  "ct": "CTNormalization",
  "zscore": "ZScoreNormalization",
  "minmax": "RescaleTo01Normalization",
  "rgb": "RGBTo01Normalization",
  "none": "NoNormalization",
}
_RESAMPLE = "resample_data_or_seg_to_shape"
# nnU-Net's field -> ours
_KINDS = {"data": "image", "seg": "label", "probabilities": "scores"}
_LINKS = {
  "next_stage": "next_stage",
  "previous_stage": "previous_stage",
  "inherits_from": "inherits",
}
_INTENSITIES = "foreground_intensity_properties_per_channel"
_OLD_INTENSITIES = "foreground_intensity_properties_by_modality"
_PLAN = (
  "dataset_name",
  "plans_name",
  "original_median_spacing_after_transp",
  "original_median_shape_after_transp",
  "image_reader_writer",
  "transpose_forward",
  "transpose_backward",
  "configurations",
  "experiment_planner_used",
  "label_manager",
  _INTENSITIES,
)


def write_plan(path, plan: Plan) -> None:
  """Writes nnUNetPlans.json, or a preset's plans: the same fields and types.

  What nnU-Net doesn't plan, the axes that may be mirrored, goes into a file beside.
  """
  files.write_text(path, json.dumps(written_plan(plan), indent=4))
  if plan.mirroring is not None:
    write_mirroring(pathlib.Path(path).parent, plan.mirroring)


def written_plan(plan: Plan) -> dict:
  """What `parse_plan` reads: a plan as nnU-Net's JSON has it."""
  backward = sorted(range(3), key=plan.transpose.__getitem__)
  values = (
    plan.dataset,
    plan.name,
    plan.spacing,
    plan.shape,
    plan.reader,
    plan.transpose,
    backward,
    {name: _entry(name, plan) for name in plan.configurations},
    plan.planner,
    "LabelManager",
    number_channels(plan.intensities),
  )
  return dict(zip(_PLAN, values, strict=True))


def read_plan(path) -> Plan:
  """Reads nnU-Net's plans, and the axes that may be mirrored where a file beside tells them.

  Raises:
    FileNotFoundError: no such file.
    ValueError: the file is no plan, or asks for what this project does not have; the message names
      the field.
  """
  loaded = load(path, dict, "nnU-Net's plans")
  mirroring = read_mirroring(pathlib.Path(path).expanduser().parent)
  return dataclasses.replace(parse_plan(loaded, str(path)), mirroring=mirroring)


def parse_plan(loaded: Mapping, where: str, *, only: str | None = None) -> Plan:
  """As `read_plan`, of plans as JSON has them.

  Args:
    loaded: the plans.
    where: what messages call them.
    only: the one configuration that is read, for the others may be of networks that are unknown
      here; None for all.
  """
  if _OLD_INTENSITIES in loaded and _INTENSITIES not in loaded:
    loaded = {**loaded, _INTENSITIES: loaded[_OLD_INTENSITIES]}
  check_fields(loaded, _PLAN, where, optional=(_OLD_INTENSITIES,))
  for field, fits, expected in (
    ("original_median_spacing_after_transp", several(positive, 3), "three positive numbers"),
    ("original_median_shape_after_transp", several(positive, 3), "three positive numbers"),
    ("transpose_forward", order(3), "an order of the axes 0, 1 and 2"),
    ("configurations", _have_names, "configurations by name, each with its fields"),
  ):
    expect(loaded, field, fits, expected, where)
  entries = loaded["configurations"]
  if only is not None and only not in entries:
    raise ValueError(f"{where}: has no configuration '{only}'; it holds {', '.join(entries)}.")
  _check_intensities(loaded[_INTENSITIES], where)
  intensities = parse_or_refuse(list_channels, loaded[_INTENSITIES], where)
  configurations = {
    name: _configuration(
      _inherited(name, entries, where), f"{where}: configuration {name}", len(intensities)
    )
    for name in entries
    if only in (None, name)
  }
  return Plan(
    dataset=loaded["dataset_name"],
    name=loaded["plans_name"],
    planner=loaded["experiment_planner_used"],
    reader=loaded["image_reader_writer"],
    spacing=tuple(loaded["original_median_spacing_after_transp"]),
    shape=tuple(loaded["original_median_shape_after_transp"]),
    transpose=tuple(loaded["transpose_forward"]),
    configurations=configurations,
    intensities=intensities,
  )


def _check_intensities(channels, where: str) -> None:
  """Raises ValueError that names the channel whose statistics, which CT takes, are missing."""
  for i, channel in enumerate(channels.values() if isinstance(channels, dict) else ()):
    told = channel if isinstance(channel, dict) else {}
    missing = [name for name in STATISTICS if name not in told]
    if missing or str(i) not in channels:
      raise ValueError(
        f"{where}: {_INTENSITIES}: channel {i} lacks '{(missing or [i])[0]}'; expected the "
        f"channels '0', '1', ..., each with {', '.join(STATISTICS)}, of which CTNormalization is "
        "made: copy the file again, or plan again."
      )


def _have_names(entries) -> bool:
  fields = isinstance(entries, dict) and entries.values()
  return bool(fields) and all(isinstance(entry, dict) for entry in fields)


def _inherited(name: str, entries: Mapping, where: str) -> dict:
  """A configuration's own fields over those of the one that it inherits from."""
  chain, parent = [], name
  while parent is not None:
    if parent not in entries or parent in chain:
      raise ValueError(
        f"{where}: configuration {name} inherits from '{parent}', which is missing or goes round "
        f"in circles; configurations: {', '.join(entries)}."
      )
    chain.append(parent)
    parent = entries[parent].get("inherits_from")
  merged = {}
  for parent in reversed(chain):
    merged |= {key: value for key, value in entries[parent].items() if key not in _LINKS}
  return merged | {key: value for key, value in entries[name].items() if key in _LINKS}


def _fields(configuration: Configuration) -> dict:
  """A configuration as nnU-Net writes it, without links to others."""
  out = {
    "data_identifier": configuration.identifier,
    "preprocessor_name": "DefaultPreprocessor",
    "batch_size": configuration.batch,
    "patch_size": configuration.patch,
    "median_image_size_in_voxels": configuration.median_shape,
    "spacing": configuration.spacing,
    "normalization_schemes": [SCHEMES[name] for name in configuration.normalisation],
    "use_mask_for_norm": configuration.masked,
    "resampling_fn_data": _RESAMPLE,
    "resampling_fn_seg": _RESAMPLE,
    "resampling_fn_data_kwargs": _resampling(configuration.image, label=False),
    "resampling_fn_seg_kwargs": _resampling(configuration.label, label=True),
    "resampling_fn_probabilities": _RESAMPLE,
    "resampling_fn_probabilities_kwargs": _resampling(configuration.scores, label=False),
    "architecture": to_architecture(configuration),
    "batch_dice": configuration.batch_dice,
  }
  return out


def _entry(name: str, plan: Plan) -> dict:
  """As nnU-Net writes it: what is inherited is left out."""
  configuration = plan.configurations[name]
  own, parent = _fields(configuration), configuration.inherits
  if parent is not None:
    same = _fields(plan.configurations[parent])
    own = {key: value for key, value in own.items() if value != same[key]}
  links = {key: getattr(configuration, ours) for key, ours in _LINKS.items()}
  links = {key: value for key, value in links.items() if value is not None}
  # a cascade's second stage begins with what it inherits, as in nnU-Net's files
  return {
    **{k: links[k] for k in ("inherits_from", "previous_stage") if k in links},
    **own,
    **links,
  }


def _resampling(how: Resampling, *, label: bool) -> dict:
  return {
    "is_seg": label,
    "order": how.order,
    "order_z": how.order_z,
    "force_separate_z": how.separate_z,
  }


_CONFIGURATION = (
  "data_identifier",
  "preprocessor_name",
  "batch_size",
  "patch_size",
  "median_image_size_in_voxels",
  "spacing",
  "normalization_schemes",
  "use_mask_for_norm",
  *(f"resampling_fn_{kind}" for kind in _KINDS),
  *(f"resampling_fn_{kind}_kwargs" for kind in _KINDS),
  "architecture",
  "batch_dice",
)


def _configuration(entry: Mapping, where: str, channels: int) -> Configuration:
  if "architecture" not in entry and OLD[0] in entry:
    entry = from_old(entry, where)
  check_fields(entry, _CONFIGURATION, where, optional=_LINKS)
  if entry["preprocessor_name"] != "DefaultPreprocessor":
    raise ValueError(
      f"{where}: preprocessor_name '{entry['preprocessor_name']}' is unknown; expected "
      "'DefaultPreprocessor'."
    )
  names = {theirs: ours for ours, theirs in SCHEMES.items()}
  schemes = entry["normalization_schemes"]
  shape = from_architecture(entry["architecture"], where)
  rank, per_axis = len(shape["strides"][0]), "one positive number per axis"
  scheme = f"one of {', '.join(names)} for each of {channels} channel(s)"
  for field, fits, expected in (
    ("batch_size", whole, "a positive whole number"),
    ("patch_size", several(whole, rank), per_axis.replace("number", "whole number")),
    ("median_image_size_in_voxels", several(positive, rank), per_axis),
    ("spacing", several(positive, rank), per_axis),
    ("normalization_schemes", several(among(names), channels), scheme),
    ("use_mask_for_norm", several(among((True, False)), channels), "true or false per channel"),
    ("batch_dice", among((True, False)), "true or false"),
  ):
    expect(entry, field, fits, expected, where)
  resampling = {ours: _read_resampling(entry, kind, where) for kind, ours in _KINDS.items()}
  return parse_or_refuse(
    lambda entry: Configuration(
      spacing=tuple(entry["spacing"]),
      median_shape=tuple(entry["median_image_size_in_voxels"]),
      patch=tuple(entry["patch_size"]),
      batch=entry["batch_size"],
      **shape,
      normalisation=tuple(names[scheme] for scheme in schemes),
      masked=tuple(entry["use_mask_for_norm"]),
      batch_dice=entry["batch_dice"],
      identifier=entry["data_identifier"],
      **resampling,
      **{ours: entry.get(theirs) for theirs, ours in _LINKS.items()},
    ),
    entry,
    where,
  )


def _read_resampling(entry: Mapping, kind: str, where: str) -> Resampling:
  function, options = entry[f"resampling_fn_{kind}"], entry[f"resampling_fn_{kind}_kwargs"]
  if function != _RESAMPLE:
    raise ValueError(
      f"{where}: resampling_fn_{kind} is '{function}', which is unknown; expected '{_RESAMPLE}'."
    )
  fields = ("is_seg", "order", "order_z", "force_separate_z")
  where = f"{where}: resampling_fn_{kind}_kwargs"
  if not isinstance(options, dict):
    raise ValueError(f"{where}: is {options!r}; expected {', '.join(fields)}.")
  check_fields(options, fields, where)
  orders = f"one of {', '.join(map(str, ORDERS))}"
  expect(options, "order", among(ORDERS), orders, where)
  expect(options, "order_z", among(ORDERS), orders, where)
  expect(options, "force_separate_z", among((None, True, False)), "true, false or null", where)
  return Resampling(options["order"], options["order_z"], options["force_separate_z"])
