"""Any 3D network for a short, equal run on MSD Task04 Hippocampus: anterior and posterior.

Papers: each network's is in its docstring; Decathlon (arXiv 2106.05735).
Data: ../shared/data/msd_hippocampus, fold 0.
Run: python train.py --config=configs/networks_3d.py:vnet --workdir=runs/networks_3d/vnet
Every network by such a run: python benchmarks/networks.py (docs/networks.md).
"""

from jaxseg import defaults
from jaxseg.build import lookup

# also of the other configs of this set
SOURCE = dict(name="nnunet_raw", path="../shared/data/msd_hippocampus")
AUGMENT = dict(
  spatial=dict(rotation=15.0, scale=(0.85, 1.2)),
  brightness=dict(),
  contrast=dict(),
  gamma=dict(),
  # left and right hippocampi are mirror images; front and back are what the labels tell apart
  mirror=dict(axes=(2,)),
)

# modest sizes: 200 steps take about two minutes on two CPU cores; a name may be a network's own or
# stand for a variant ("name" in its options)
OPTIONS = {
  "unet": dict(widths=(8, 16, 32, 64)),
  "unet2015": dict(widths=(8, 16, 32, 64), padding="same", norm="batch"),
  "unet3d": dict(widths=(16, 32, 64, 128), padding="same"),
  "vnet": dict(widths=(6, 12, 24, 48), depth=(1, 2, 3, 3), decoder_depth=(1, 2, 3), norm="batch"),
  "posterior_cascade": dict(stage=dict(name="unet", widths=(8, 16, 32, 64))),
  "recurrent_saliency": dict(
    coarse=dict(name="unet", widths=(8, 16, 32)),
    fine=dict(name="unet", widths=(8, 16, 32)),
    box_margin=4,
    max_rounds=3,
  ),
  "detect_then_segment": dict(
    segmenter=dict(name="unet", widths=(8, 16, 32, 64)),
    roi=32,
    detector_widths=(8, 16, 32),
    detector_features=32,
  ),
  "unet_p3d": dict(name="unet", widths=(8, 16, 32, 64), block="p3d"),
  "unet_dsts": dict(name="unet", widths=(8, 16, 32, 64), conv="dsts"),
  "lw_hcn": dict(widths=(16, 32, 64, 128)),
  "pseudo3d": dict(slices=3, inner=dict(name="unet", widths=(16, 32, 64, 128))),
  "triplanar": dict(inner=dict(name="unet", widths=(16, 32, 64))),
  "r2unet": dict(widths=(8, 16, 32, 64)),
  "unetpp": dict(widths=(8, 16, 32, 64), deep_supervision=True),
  # the published norm of the logits keeps them from saying how rare a class is
  "multiresunet": dict(widths=(8, 16, 32, 64), head_norm=False),
  "kiunet": dict(widths=(16, 32, 64, 128), ki_widths=(8,)),
  "bdclstm": dict(widths=(12, 24, 48), hidden=12, layers=1),
  "fc_densenet": dict(layers=(2, 2, 3, 4), growth=8, stem=16, dropout=0.0),
  # three blocks and skips: 32 voxels are few for stride 32, and no 2D scores bring the detail
  "dense_unet3d": dict(blocks=(3, 4, 6), growth=16, width=32, widths=(16, 32, 32, 64), skips=True),
  "h_denseunet": dict(
    net2d=dict(blocks=(3, 4, 6), growth=16, width=32, widths=(16, 32, 32, 64)),
    net3d=dict(blocks=(3, 4, 4), growth=8, width=16, widths=(16, 16, 32, 32)),
    score_scale=1.0,  # the volumes are normalised
  ),
  "nonlocal_unet": dict(features=16),
  "encoder_unet": dict(
    encoder=dict(name="resnet18", blocks=(2, 2, 2), width=16), widths=(64, 32, 16, 16)
  ),
  # rates for the 8 voxels of the bottleneck
  "unet_aspp": dict(
    name="unet", widths=(16, 32, 64), bottleneck=dict(name="aspp", rates=(2, 3, 4))
  ),
  "attention_unet_dsv": dict(widths=(8, 16, 32, 64)),
  "plain_conv_unet": dict(widths=(8, 16, 32, 64)),
  "resenc_unet": dict(widths=(8, 16, 32, 64), depth=(1, 2, 2, 2)),
  "mednext": dict(widths=(16, 32, 64, 128), blocks=1, expansion=2),
  "segresnet": dict(widths=(8, 16, 32, 64), depth=(1, 1, 2, 2)),
  "unetr": dict(
    features=8,
    hidden=96,
    mlp=192,
    heads=4,
    layers=6,
    taps=(2, 3, 5),
    image_size=32,
    strides=(2, 2, 2, 1),  # patches of 8 voxels: 64 of them in the small volumes
  ),
  "swin_unetr": dict(features=12, depths=(2, 2), heads=(2, 4), window=4),
  "unet_se": dict(name="unet", widths=(8, 16, 32, 64), attention="se"),
}


# networks that another method than the default trains; the papers of the others weigh all their
# outputs equally
METHODS = {
  "detect_then_segment": dict(name="detected"),
  "unetpp": dict(name="supervised", head_decay=1.0),
  "posterior_cascade": dict(name="supervised", head_decay=1.0),
  "recurrent_saliency": dict(name="supervised", head_decay=1.0),
}

# the last stage sees the first one's posterior only once that has learned, late in 200 steps at
# the others' rate: then it finds one of the two classes. P3D and DSTS, with few weights, are half
# way there (Dice 0.51 and 0.58)
RATES = {"posterior_cascade": 1e-2, "unet_dsts": 1e-2, "unet_p3d": 1e-2}


def get_config(network="unet"):
  config = defaults.config()
  config.steps = 200
  config.network = {"name": network, **lookup(OPTIONS, network, "network")}
  config.method = METHODS.get(network, config.method)
  config.optimiser.learning_rate = RATES.get(network, 2e-3)

  config.data.source = SOURCE
  config.data.patch = (32, 32, 32)
  config.data.batch = 2

  config.augment = AUGMENT
  config.predictor = dict(name="sliding_window", overlap=0.5, batch=4)
  config.evaluate.every = 200
  config.evaluate.cases = 8
  return config
