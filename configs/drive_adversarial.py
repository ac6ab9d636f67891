"""DRIVE with a critic beside the network, and without: retinal vessels, the same budget for all.

Papers: Luc et al. 2016 (1611.08408), inputs "basic", "product" and "scaling"; SegAN, Xue et al.
2018 (1706.01805); SCAN, Dai et al. 2018 (1703.08770); hinge with spectral norm, Miyato et al. 2018
(1802.05957); WGAN-GP, Gulrajani et al. 2017 (1704.00028).
Data: as configs/drive_unet.py has them, 16 images train, 4 validate; scored with the last step.
Run: python train.py --config=configs/drive_adversarial.py:luc --workdir=runs/drive_luc
After the colon: one of VARIANTS, "supervised" if there is none. The table of all of them, three
seeds each: python benchmarks/few_labels.py (docs/few_labels.md).
"""

import pathlib
import runpy

from jaxseg import defaults
from jaxseg.build import suggestion

HERE = pathlib.Path(__file__).parent
# what a critic of masks starts with: its weight rises while the network learns to segment at all
RISE = dict(name="linear", begin=0.1, until=0.4)
ADAM = dict(name="adam", learning_rate=2e-4, b1=0.5)
PATCH = dict(name="patch_critic", widths=(16, 32, 64), norm="instance")

# variant -> fields of the config by path, beside those of the same network alone
VARIANTS = {
  "supervised": {},
  "luc": {
    "method": dict(name="adversarial", inputs="basic", fool=dict(**RISE, end=0.1)),
    "networks.critic": PATCH,
  },
  "luc_product": {
    "method": dict(name="adversarial", inputs="product", fool=dict(**RISE, end=0.1)),
    "networks.critic": PATCH,
  },
  "luc_scaling": {
    "method": dict(name="adversarial", inputs="scaling", least=0.9, fool=dict(**RISE, end=0.1)),
    "networks.critic": PATCH,
  },
  "segan": {
    "method": dict(
      name="adversarial",
      mode="multi_scale_l1",
      inputs="product",
      include_background=False,
      fool=1.0,
      clip_weights=0.05,
      feature_weights=(1.0, 1.0, 2.0, 2.0, 2.0),
    ),
    "networks.critic": dict(
      name="multi_scale_critic", widths=(16, 32, 64, 64), kernels=(7, 5, 4, 4), norm="batch"
    ),
  },
  "scan": {
    "method": dict(name="adversarial", inputs="maps", fool=dict(**RISE, end=0.01)),
    "networks.critic": dict(name="residual_critic", norm="instance"),
  },
  "hinge": {
    "method": dict(name="adversarial", mode="hinge", fool=dict(**RISE, end=0.05)),
    "networks.critic": dict(**PATCH, spectral=True),
  },
  "wgan_gp": {
    "method": dict(
      name="adversarial", mode="wgan", gradient_penalty=10.0, fool=dict(**RISE, end=0.01)
    ),
    "networks.critic": PATCH,
  },
}


def get_config(variant="supervised"):
  if variant not in VARIANTS:
    raise ValueError(
      f"'{variant}' is no variant{suggestion(variant, VARIANTS)}; choices: {', '.join(VARIANTS)}."
    )
  config = runpy.run_path(str(HERE / "drive_unet.py"))["get_config"]()
  config.steps = 300
  config.network.widths = (8, 16, 32, 64)
  config.data.patch = (96, 96)
  config.evaluate.every = config.steps
  return with_critic(config, VARIANTS[variant])


def with_critic(config, variant):
  """The config with a variant's fields, and its critic's optimiser."""
  defaults.assign(config, variant)
  if "networks.critic" in variant:
    config.optimisers = dict(critic=ADAM)
  return config
