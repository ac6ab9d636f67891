"""Any 2D network for a short, equal run on CHASE_DB1: retinal vessels, patients 09 and 10 unseen.

Papers: each network's is in its docstring; CHASE_DB1: Fraz et al., IEEE TBME 2012.
Data: ../shared/data/chase_db1 (20 images of 10 patients, both eyes; first observer).
Run: python train.py --config=configs/networks_2d.py:unetpp --workdir=runs/networks_2d/unetpp
Every network by such a run: python benchmarks/networks.py (docs/networks.md).
"""

from jaxseg import defaults
from jaxseg.build import lookup

# four patches of differing brightness make poor statistics, and an unseen patient's differ again:
# with batch norm `unet` has a Dice of 0.58 after 200 steps, with instance norm 0.74
NORM = dict(norm="instance")
UNET = dict(name="unet", widths=(16, 32, 64, 128), **NORM)
RESNET = dict(name="resnet18", width=16, **NORM)

# modest sizes: 200 steps take one or two minutes on two CPU cores; a name may be a network's own or
# stand for a variant ("name" in its options)
OPTIONS = {
  "unet": UNET,
  # batch norm, the default and the survey's, for comparison
  "unet_batch_norm": dict(UNET, norm="batch"),
  # valid: the patch of 96 gives 56; 200 steps are too few without a norm, or with half dropped out
  "unet2015": dict(widths=(16, 32, 64), dropout=0.0, **NORM),
  "unet3d": dict(widths=(16, 32, 64, 128), padding="same", **NORM),
  "vnet": dict(widths=(8, 16, 32, 64), depth=(1, 2, 3, 3), decoder_depth=(1, 2, 3), **NORM),
  "r2unet": dict(widths=(12, 24, 48, 96), **NORM),
  # as for unet2015; at the others' rate Dice 0 after 200 steps with batch norm in the stages
  "bcdunet": dict(widths=(8, 16, 32, 64), stage_norm="instance", dropout=0.0, **NORM),
  "unetpp": dict(widths=(16, 32, 64, 128), deep_supervision=True, **NORM),
  # the published norm of the logits keeps them from saying how rare a class is
  "multiresunet": dict(widths=(12, 24, 48, 96), head_norm=False, **NORM),
  "kiunet": dict(widths=(16, 16, 64, 128), ki_widths=(8, 8), **NORM),
  "kinet": dict(name="kiunet", branches="ki", widths=(8, 8), **NORM),
  "kiunet_residual": dict(
    name="kiunet", widths=(16, 16, 64, 128), ki_widths=(8, 8), block="residual", **NORM
  ),
  "kiunet_dense": dict(
    name="kiunet", widths=(16, 16, 64, 128), ki_widths=(8, 8), block="dense", **NORM
  ),
  # a branch gets an eighth of the filters: at 16 it would be one or two
  "unet_inception": dict(UNET, widths=(24, 48, 96, 192), block="inception"),
  "hrnet_ocr": dict(width=8, ocr_width=16, blocks=2, modules=(1, 2, 1), stem=16, **NORM),
  # without a norm half dropped out is too much for 200 steps
  "pnet": dict(features=16, dropout=0.0),
  "scribble_unet": dict(widths=(24, 48, 96, 96)),
  "posterior_cascade": dict(stage=dict(UNET, widths=(12, 24, 48, 96))),
  "recurrent_saliency": dict(
    coarse=dict(UNET, widths=(12, 24, 48, 96)),
    fine=dict(UNET, widths=(12, 24, 48, 96)),
    box_margin=8,
    max_rounds=3,
  ),
  "unet_graph": dict(UNET, bottleneck=dict(name="graph_reasoning", nodes=32)),
  "unet_graph_pool": dict(UNET, bottleneck="graph_unet"),
  "unet_glca": dict(UNET, bottleneck="glca"),
  "unet_glca_pwca": dict(UNET, bottleneck=dict(name="glca", pwca=True)),
  "unet_dense": dict(UNET, block="dense"),
  "fc_densenet": dict(layers=(2, 3, 4, 4, 4), growth=12, stem=24, dropout=0.0, **NORM),
  # its norms are the release's
  "dense_unet161": dict(blocks=(3, 6, 8, 6), growth=16, width=32, widths=(16, 32, 32, 64, 128)),
  "attention_unet": dict(widths=(16, 32, 64, 128), **NORM),
  # the genotype of NAS-UNet's own search, and two made by hand to be like DiNTS' first ones
  "cell_unet": dict(genotype="nas_unet_v2", features=16, depth=3),
  "dints": dict(
    genotype=dict(
      space="dints",
      depths=3,
      blocks=(
        ((0, "conv_3x3"), (2, "conv_3x3")),
        ((0, "conv_3x3"), (3, "conv_3x3"), (5, "conv_3x3")),
        ((0, "conv_3x3"), (1, "skip"), (3, "conv_3x3"), (4, "skip"), (6, "conv_3x3")),
      ),
    ),
    features=12,
    halve=False,
  ),
  "plain_conv_unet": dict(widths=(12, 24, 48, 96)),
  "resenc_unet": dict(widths=(12, 24, 48, 96), depth=(1, 2, 2, 2)),
  "mednext": dict(widths=(16, 32, 64, 128), blocks=1, expansion=2),
  "segresnet": dict(widths=(8, 16, 32, 64)),
  "linknet": dict(widths=(16, 32, 64)),
  "deepbrain": dict(dropout=0.0),
  "deepbet": dict(widths=(16, 32, 64)),
  "resnet_segmenter": dict(widths=(16, 32, 64), blocks=4, **NORM),
  "ssl4mis_unet": dict(widths=(16, 32, 64, 128), dropout=0.0, **NORM),
  "unetr": dict(features=8, hidden=96, mlp=192, heads=4, layers=6, taps=(2, 3, 5), image_size=96),
  "swin_unetr": dict(features=12, depths=(2, 2, 2), heads=(2, 4, 8), window=8),
  # red, green and blue as modalities
  "hyper_densenet": dict(widths=(4, 4, 4, 8, 8, 8), head=(64, 32), **NORM),
  "decision_fusion": dict(member=dict(UNET, widths=(8, 16, 32, 64))),
  "attention_fusion": dict(widths=(8, 16, 32, 64), hidden=48, mlp=96),
  "unet_residual": dict(UNET, block="residual"),
  "unet_se": dict(UNET, attention="se"),
  # seven gates of about a quarter, one after the other, leave little of what they pass at the
  # start: Dice 0.06 after 200 steps, with the input added 0.73
  "unet_cbam": dict(UNET, attention=dict(name="cbam", residual=True)),
  "unet_scse": dict(UNET, attention="scse"),
  "unet_nonlocal": dict(UNET, bottleneck="nonlocal"),
  "unet_separable": dict(UNET, widths=(24, 48, 96, 192), conv="separable"),
  "unet_grid_gate": dict(UNET, skip=("concat", "grid_gate", "grid_gate")),
  "encoder_unet": dict(encoder=RESNET, widths=(128, 64, 32, 16, 16), **NORM),
  "encoder_unet_densenet": dict(
    name="encoder_unet",
    encoder=dict(name="densenet121", blocks=(2, 4, 6, 4), growth=8, width=16, **NORM),
    widths=(128, 64, 32, 16, 16),
    **NORM,
  ),
  "encoder_unet_vgg": dict(
    name="encoder_unet",
    encoder=dict(name="vgg16", width=8, **NORM),
    widths=(128, 64, 32, 16, 16),
    **NORM,
  ),
  "encoder_unetpp": dict(encoder=RESNET, widths=(128, 64, 32, 16, 16), **NORM),
  "pspnet": dict(encoder=RESNET, width=128, **NORM),
  # rates and stages for the 12 features of a patch of 96; dropout as for unet2015
  "deeplabv3": dict(
    encoder=dict(RESNET, blocks=(2, 2, 2)),
    output_stride=8,
    rates=(2, 4, 6),
    width=64,
    dropout=0.0,
    **NORM,
  ),
  "cenet": dict(encoder=dict(RESNET, blocks=(2, 2, 2), width=24), width=16, **NORM),
  "shape_attentive": dict(
    encoder=dict(name="densenet121", blocks=(2, 4, 6, 4), growth=8, width=16, **NORM),
    centre_width=64,
    widths=(64, 32, 24, 16),
    shape_widths=(16, 8, 8, 4),
    head_widths=(24, 16),
    reduction=4,
    **NORM,
  ),
  "unet_ppm": dict(UNET, bottleneck="ppm"),
  "unet_aspp": dict(UNET, bottleneck=dict(name="aspp", rates=(2, 4, 6))),
  "unet_hdc": dict(UNET, bottleneck="hdc"),
  "unet_gce": dict(UNET, bottleneck=dict(name="gce", rates=(2, 4, 6))),
  "unet_dac_rmp": dict(UNET, bottleneck="dac_rmp"),
  "unet_dropblock": dict(UNET, dropout=dict(rate=(0.0, 0.0, 0.1, 0.2), kind="block", size=5)),
  "unet_spatial_dropout": dict(UNET, dropout=dict(rate=(0.0, 0.0, 0.1, 0.2), kind="channel")),
  "unet_stochastic_depth": dict(UNET, residual=True, stochastic_depth=0.2),
}


# the papers of these weigh all outputs equally
METHODS = {
  "unetpp": dict(name="supervised", head_decay=1.0),
  "decision_fusion": dict(name="supervised", head_decay=1.0),
  "posterior_cascade": dict(name="supervised", head_decay=1.0),
  "recurrent_saliency": dict(name="supervised", head_decay=1.0),
}

# few features and a head without bias: its scores stay below the background's for long
RATES = {"kinet": 1e-2}


def get_config(network="unet"):
  config = defaults.config()
  config.steps = 200
  config.network = {"name": network, **lookup(OPTIONS, network, "network")}
  config.method = METHODS.get(network, config.method)
  config.optimiser.learning_rate = RATES.get(network, 2e-3)

  config.data.source = dict(
    name="paired_folder",
    images="../shared/data/chase_db1",
    masks="../shared/data/chase_db1",
    names=("background", "vessel"),
    channels=("red", "green", "blue"),
    image_pattern="*.jpg",
    case=r"(Image_\d+[LR])",
    mask_pattern="{case}_1stHO.png",
  )
  # both eyes of a patient stay on one side
  config.data.split = dict(name="kfold", fold=0, folds=5, group=r"Image_(\d+)")
  config.data.patch = (96, 96)
  config.data.batch = 4

  config.augment = dict(
    spatial=dict(rotation=180.0, scale=(0.8, 1.25)),
    brightness=dict(),
    contrast=dict(),
    gamma=dict(),
    mirror=dict(),
  )
  config.predictor = dict(name="sliding_window", overlap=0.25, batch=4)
  config.evaluate.every = 200
  config.evaluate.cases = 1
  return config
