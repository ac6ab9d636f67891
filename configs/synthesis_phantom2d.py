"""A T2-weighted slice from a T1-weighted one, on procedural phantoms: a U-Net as a regression.

Paper: the U-Net of Ronneberger et al. (arXiv 1505.04597), trained on the mean absolute difference
as the generators of pix2pix are without a critic (Isola et al., arXiv 1611.07004, section 3.1).
Run: python train.py --config=configs/synthesis_phantom2d.py --workdir=runs/synthesis2d
Score: PSNR 24.3 dB, SSIM 0.885 on 20 unseen phantoms; two minutes of processor time.
"""

from jaxseg import defaults


def get_config():
  config = defaults.config()
  config.steps = 300
  config.task = dict(name="synthesis", inputs=("t1",), targets=("t2",))
  config.method = dict(name="regression")
  config.network = dict(name="unet", widths=(16, 32, 64))
  config.loss = dict(l1=dict())
  config.optimiser.learning_rate = 3e-3
  config.average = 0.98

  config.data.source = dict(
    name="phantom", cases=100, size=(96, 96), appearance="mr", channels=2, noise=10.0
  )
  config.data.patch = (96, 96)
  config.data.batch = 8

  config.augment = dict(mirror=dict(), spatial=dict(rotation=15.0, scale=(0.85, 1.2)))
  config.predictor = dict(name="sliding_window", overlap=0.5, batch=1)
  config.evaluate.every = 100
  config.evaluate.cases = 4
  return config
