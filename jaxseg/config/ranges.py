"""The ranges of numbers: of options by their names, and of a config's own fields."""

from typing import NamedTuple


class Range(NamedTuple):
  """An interval; `words` end the sentence "a number ...".

  Attributes:
    words: what the message says.
    low, high: the ends; None is none.
    inside: the low end is not in it; `below`: the high end is not.
  """

  words: str
  low: float | None = None
  high: float | None = None
  inside: bool = False
  below: bool = False

  def __contains__(self, number) -> bool:
    if self.low is not None and not (number > self.low if self.inside else number >= self.low):
      return False
    return self.high is None or (number < self.high if self.below else number <= self.high)


COUNT = Range("from 1", 1)
FROM_0 = Range("from 0", 0)
FROM_2 = Range("from 2", 2)
POSITIVE = Range("above 0", 0, inside=True)
SHARE = Range("from 0 to 1", 0, 1)
BELOW_1 = Range("from 0 to below 1", 0, 1, below=True)
PART = Range("above 0, up to 1", 0, 1, inside=True)
SEED = Range("from 0 to 4294967295", 0, 2**32 - 1)
AXIS = Range("from 0 to 2", 0, 2)
ANY_AXIS = Range("from -3 to 2", -3, 2)
DEVICES = Range("from 1, or -1 for all devices that are left", -1)
STEPS = Range("from 1 to 2147483647", 1, 2**31 - 1)


def _all(names: str, span: Range) -> dict[str, Range]:
  return dict.fromkeys(names.split(), span)


# an option's name, or (component, option) where it means something else there
RANGES: dict[str | tuple[str, str], Range] = {
  # networks
  **_all("widths width ki_widths decoder_widths detector_widths features detector_features", COUNT),
  **_all("growth stem hidden mlp heads layers states inter nodes neighbours bottleneck", COUNT),
  **_all("kernel kernels output_kernel head_kernel join_kernel norm_groups", COUNT),
  **_all("strides stride transition_stride output_stride sub_sample rates multi_grid", COUNT),
  **_all("depth decoder_depth depths blocks dense_blocks stages cycles length expansion", COUNT),
  **_all("reduction bins cells pools taps attention_ups chunk k rho gates", COUNT),
  **_all("window patch crop image_size roi slices detections candidates rounds max_rounds", COUNT),
  **_all("latent coarser normal_cells", COUNT),
  **_all("drop_block drop_block_ramp flat_levels detector_level box_margin t", FROM_0),
  **_all("dropout attention_dropout skip_dropout stochastic_depth", BELOW_1),
  ("norm", "groups"): COUNT,
  ("dropout", "rate"): BELOW_1,
  ("dropout", "size"): COUNT,
  ("dropout", "ramp"): FROM_0,
  **_all("compression ratio share", PART),
  **_all("epsilon score_scale data_range width_factor depth_factor", POSITIVE),
  "stop": SHARE,
  ("recurrent_saliency", "threshold"): SHARE,
  ("detect_then_segment", "threshold"): SHARE,
  ("detect_then_segment", "context"): FROM_0,
  ("detect_then_segment", "overlap"): SHARE,
  # losses and their weights
  **_all("smooth smooth_numerator smooth_denominator", FROM_0),
  **_all("gamma gamma_dice gamma_cross alpha beta", FROM_0),
  **_all("class_weights dice_weight cross_weight heat_weight box_weight", FROM_0),
  **_all("head_decay head_weights auxiliary", FROM_0),
  # methods with a critic
  **_all("fool fool_unlabelled semi gradient_penalty feature_weights", FROM_0),
  **dict.fromkeys((("adversarial", "least"), ("hung", "threshold")), SHARE),
  "clip_weights": POSITIVE,
  "critic_steps": COUNT,
  **{(of, name): FROM_0 for of in ("cyclegan", "synseg") for name in ("cycle", "identity", "pool")},
  ("synseg", "segmentation"): FROM_0,
  **_all("iterations erosions", COUNT),
  ("focal_tversky", "gamma"): POSITIVE,
  "positive_weight": POSITIVE,
  ("surrogate", "theta"): SHARE,
  ("surrogate", "width"): FROM_0,
  **dict.fromkeys((("box_tightness", "every"), ("box_size", "every")), COUNT),
  **dict.fromkeys((("box_tightness", "growth"), ("box_size", "growth")), POSITIVE),
  **dict.fromkeys((("box_tightness", "sharpness"), ("box_size", "sharpness")), POSITIVE),
  "label_smoothing": BELOW_1,
  ("effective_number", "beta"): BELOW_1,
  # methods
  **_all("weight consistency noise noise_limit divergence instance_noise", FROM_0),
  **_all("image_weight feature_weight unlabelled_weight", FROM_0),
  "cutmix": SHARE,
  ("unimatch", "channel_rate"): BELOW_1,
  ("copy_paste", "box"): PART,
  ("fixmatch", "threshold"): SHARE,
  ("unimatch", "threshold"): SHARE,
  ("pseudo_label", "threshold"): SHARE,
  ("uncertainty_mean_teacher", "threshold"): SHARE,
  ("uncertainty_mean_teacher", "passes"): COUNT,
  ("dual_branch", "alpha"): SHARE,
  ("restyled", "band"): Range("from 0 to 0.5", 0, 0.5),
  ("mmd", "grid"): COUNT,
  ("patch_critic", "scores"): COUNT,
  ("edge_supervision", "edge_weight"): FROM_0,
  ("shape_attentive", "thresholds"): FROM_0,
  **_all("centre_width shape_widths head_widths", COUNT),
  ("mmd", "bandwidths"): POSITIVE,
  # methods with simulated users
  **_all("turns jitter proposal_steps prompt_channels", FROM_0),
  **_all("points clicks answers most thickness modules dilations compress ocr_width", COUNT),
  "decline": PART,
  **_all("automatic partial", SHARE),
  ("ritm", "threshold"): SHARE,
  **dict.fromkeys((("deepigeos", "least"), ("deepigeos", "every")), COUNT),
  **_all("cycle translation masks inner_masks cycle_fool pool", FROM_0),
  ("unpaired", "distillation"): FROM_0,
  ("unpaired", "temperature"): POSITIVE,
  # searches
  **_all("warm_up terms zero_one", FROM_0),
  **dict.fromkeys((("gdas", "temperature"), "inner_rate"), POSITIVE),
  "stop_share": BELOW_1,
  ("dints", "topology"): FROM_0,
  ("dints", "memory"): PART,
  **dict.fromkeys((("sandwich", "between"), ("sandwich", "distillation")), FROM_0),
  # augmentations
  **_all("p p_rotation p_scale p_shear p_elastic p_channel p_label", SHARE),
  **_all("scale exponent factor", POSITIVE),
  **_all("sigma displacement radius shear coefficient intensity", FROM_0),
  **_all("keep zoom", PART),
  **_all("centre largest", SHARE),
  **_all("control order ghosts boxes", COUNT),
  ("spatial", "sigma"): POSITIVE,
  ("spatial", "rotation"): Range("of degrees from 0 to 180", 0, 180),
  ("cutout", "size"): PART,
  ("intensity_window", "lower"): SHARE,
  ("intensity_window", "upper"): SHARE,
  ("mixup", "alpha"): POSITIVE,
  ("cutmix", "alpha"): POSITIVE,
  **dict.fromkeys((("mirror", "axes"), ("low_resolution", "axes")), ANY_AXIS),
  **dict.fromkeys((("ghosting", "axes"), ("gibbs", "axes")), ANY_AXIS),
  # optimisers and schedules
  **_all("weight_decay l2 l2_sp l2_new clip eps eps_root initial_accumulator_value", FROM_0),
  "layer_decay": PART,
  **_all("momentum b1 b2 decay", BELOW_1),
  **_all("learning_rate trust_coefficient", POSITIVE),
  "accumulate": COUNT,
  ("radam", "threshold"): FROM_0,
  **_all("power end start value values", FROM_0),
  **_all("warmup begin until at zero_before", SHARE),
  "sharpness": FROM_0,
  # predictors
  **dict.fromkeys((("sliding_window", "overlap"), ("slices", "overlap")), BELOW_1),
  **dict.fromkeys((("sliding_window", "batch"), ("slices", "batch")), COUNT),
  ("slices", "axis"): AXIS,
  ("interactive", "zoom"): COUNT,
  "box_size": COUNT,
  ("boxed", "around"): FROM_0,
  ("boxed", "least"): SHARE,
  # metrics
  "tolerance": FROM_0,
  "percentile": Range("above 0, up to 100", 0, 100, inside=True),
  "fraction": PART,
  ("boundary_iou", "width"): POSITIVE,
  "iou": SHARE,
  "thresholds": SHARE,
  ("v_rand", "alpha"): SHARE,
  ("v_info", "alpha"): SHARE,
  "connectivity": Range("from 1 to 3", 1, 3),
  # strategies and evaluations of a search
  **_all("trials population tournament at_once samples updates levels smallest startup", COUNT),
  "batches": COUNT,
  "eta": FROM_2,
  "deviation": POSITIVE,
  # of less no child would differ from its parent to speak of
  ("evolution", "width"): Range("from 0.001 to 1", 1e-3, 1),
  ("ppo", "clip"): POSITIVE,
  # data
  **_all("spacing maximum", POSITIVE),
  **_all("seed labelled_seed", SEED),
  **dict.fromkeys((("strokes", "axis"), ("label_boxes", "axis"), ("box_file", "axis")), AXIS),
  **dict.fromkeys((("strokes", "inset"), ("slices", "first"), ("label_boxes", "margin")), FROM_0),
  ("slices", "every"): COUNT,
  "fold": FROM_0,
  "folds": FROM_2,
  "std": FROM_0,
}
