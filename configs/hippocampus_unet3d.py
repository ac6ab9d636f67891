"""3D U-Net on MSD Task04 Hippocampus: anterior and posterior, T1 MRI crops of about 36x50x35.

Papers: 3D U-Net (arXiv 1606.06650) as nnU-Net (1904.08128) builds it; Decathlon (2106.05735).
Data: ../shared/data/msd_hippocampus, or any folder of Task04 (--config.data.source.path=...).
Run: python train.py --config=configs/hippocampus_unet3d.py --workdir=runs/hippocampus
Score: mean Dice 0.866 on the 40 cases of fold 0; 17 minutes of CPU time (docs/results/README.md).
"""

from jaxseg import defaults


def get_config():
  config = defaults.config()
  config.steps = 600
  config.network = dict(
    name="unet",
    widths=(16, 32, 64, 128),
    norm="instance",
    activation="leaky_relu",
    up="transpose",
    bias=True,
  )
  config.optimiser.learning_rate = 3e-3
  config.optimiser.schedule = dict(name="warmup_polynomial", warmup=0.03, power=0.9)
  config.average = 0.99

  config.data.source = dict(name="nnunet_raw", path="../shared/data/msd_hippocampus")
  config.data.patch = (32, 48, 32)
  config.data.batch = 2

  config.augment = dict(
    spatial=dict(rotation=15.0, scale=(0.85, 1.2)),
    noise=dict(),
    brightness=dict(),
    contrast=dict(),
    gamma=dict(),
    # left and right hippocampi are mirror images; front and back are what the labels tell apart
    mirror=dict(axes=(2,)),
  )
  config.predictor = dict(name="sliding_window", overlap=0.5, batch=2)
  config.evaluate.every = 200
  config.evaluate.cases = 8
  return config
