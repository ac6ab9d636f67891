"""A plan's configuration as values for a config: the network, and the fields of config.data."""

from jaxseg.planning.plans import CUBIC, LINEAR, Configuration, Plan

# readers of nnU-Net that turn every scan to RAS, whichever way it is stored
REORIENTING = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")
# nnU-Net's
_FOREGROUND = 0.33


def settings(plan: Plan, configuration: str) -> dict:
  """What a config needs in order to follow a plan.

  Args:
    plan: the plan.
    configuration: a name of `plan.configurations`.

  Returns:
    "network": the spec of the network; "data": orientation, spacing, transpose, crop_nonzero,
    resampling, normalise, patch, batch, foreground and slices, for config.data; "mirror": options
    of that augmentation, {} for all axes; "batch_dice": for the Dice loss; "previous": the
    configuration whose output is a further input, or None.

  A 2D configuration of volumes has `slices=0` and keeps the spacing across slices (None). Of
  pictures it has no such axis. Raises ValueError for a configuration that the plan doesn't have,
  or whose network has one stage.
  """
  design = plan.configuration(configuration)
  if len(design.widths) < 2:
    raise ValueError(
      f"plan {plan.name} of {plan.dataset}: the patch of {configuration} has "
      f"{' x '.join(map(str, design.patch))} voxels, too few to be halved once (8 along two axes, "
      "or 12 along one); plan with a finer --spacing, or take larger images."
    )
  pictures = design.rank == 2 and _of_pictures(plan)
  spacing = design.spacing if pictures or design.rank == 3 else (None, *design.spacing)
  return {
    "network": network(design),
    "data": {
      "orientation": _orientation(plan),
      "spacing": spacing,
      "transpose": _transpose_of_pictures(plan) if pictures else plan.transpose,
      "crop_nonzero": True,
      "resampling": resampling(design),
      "normalise": tuple(
        _scheme(name, masked, statistics)
        for name, masked, statistics in zip(
          design.normalisation, design.masked, plan.intensities, strict=True
        )
      ),
      "patch": design.patch,
      "batch": design.batch,
      "foreground": foreground(design.batch),
      "slices": None if pictures or design.rank == 3 else 0,
    },
    "mirror": mirror(plan, design.rank),
    "batch_dice": design.batch_dice,
    "previous": design.previous_stage,
  }


def _orientation(plan: Plan) -> str:
  """What all cases are turned to: by the reader, or where they are stored in several ways."""
  if plan.reader in REORIENTING:
    return "RAS"
  several = plan.mirroring is not None and len(plan.mirroring.orientations) > 1
  return next(iter(plan.mirroring.orientations)) if several else "stored"


def mirror(plan: Plan, rank: int) -> dict:
  """Options of `augment.mirror`, its axes those of a patch; {} where the plan doesn't tell any."""
  if plan.mirroring is None:
    return {}
  axes = plan.mirroring.axes
  if len(axes) == 3:
    axes = [axes[axis] for axis in plan.transpose[-rank:]]
  out = {"axes": tuple(i for i, axis in enumerate(axes) if axis.mirrored)}
  for i, axis in enumerate(axes):
    if axis.swap:
      out |= {"swap": axis.swap, "swap_axis": i}
  return out


def network(configuration: Configuration) -> dict:
  """The spec of the planned network, {"name": ..., **options}."""
  return {
    "name": configuration.network,
    "widths": configuration.widths,
    "kernels": configuration.kernels,
    "strides": configuration.strides[1:],
    "depth": configuration.depth,
    "decoder_depth": configuration.decoder_depth,
  }


def foreground(batch: int) -> float:
  """The share of a batch that nnU-Net centres on foreground: a third, in whole patches (1 of 2)."""
  return 1 - round(batch * (1 - _FOREGROUND)) / batch


def resampling(configuration: Configuration) -> dict:
  """Options of config.data.resampling; none where they are nnU-Net's own.

  Raises ValueError for what these options cannot say.
  """
  image, label, scores = configuration.image, configuration.label, configuration.scores
  if (image, label, scores) == (CUBIC, LINEAR, LINEAR):
    return {}
  apart = {(how.order_z, how.separate_z) for how in (image, label, scores)}
  if scores.order != LINEAR.order or len(apart) > 1:
    raise ValueError(
      f"plan: configuration {configuration.identifier} resamples images as {image}, labels as "
      f"{label}, probabilities as {scores}; expected one order_z and one force_separate_z for all "
      f"three, and order {LINEAR.order} for probabilities."
    )
  return {
    "order": image.order,
    "label_order": label.order,
    "order_z": image.order_z,
    "separate_z": image.separate_z,
  }


def _of_pictures(plan: Plan) -> bool:
  # nnU-Net's pictures have one slice, and voxels 999 times as thick as wide
  return plan.shape[0] == 1 and plan.spacing[0] >= 999 * max(plan.spacing[1:])


def _transpose_of_pictures(plan: Plan) -> tuple[int, ...]:
  """Of the two axes that they have; raises ValueError where the third is not the first."""
  if plan.transpose[0]:
    raise ValueError(
      f"plan {plan.name} of {plan.dataset}: transpose_forward {list(plan.transpose)} takes another "
      "axis for the first than the one that pictures lack; expected 0 there."
    )
  return () if plan.transpose == (0, 1, 2) else (1, 0)


def _scheme(name: str, masked: bool, statistics: dict[str, float]) -> dict:
  if name == "ct":
    return {
      "name": name,
      "lower": statistics["percentile_00_5"],
      "upper": statistics["percentile_99_5"],
      "mean": statistics["mean"],
      "std": statistics["std"],
    }
  # the other schemes have no use for the mask
  return {"name": name, "nonzero": True} if masked and name == "zscore" else {"name": name}
