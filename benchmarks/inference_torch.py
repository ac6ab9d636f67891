"""MONAI's side of benchmarks/inference.py, run by an interpreter that has torch and monai."""

import time

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets import DynUNet
from other_python import serve, task


def network(widths, classes):
  """MONAI's U-Net after nnU-Net's, in evaluation."""
  strides = [1] + [2] * (len(widths) - 1)
  return DynUNet(
    spatial_dims=3,
    in_channels=1,
    out_channels=classes,
    kernel_size=[3] * len(widths),
    strides=strides,
    upsample_kernel_size=strides[1:],
    filters=widths,
    norm_name=("INSTANCE", {"affine": True}),
  ).eval()


def main():
  given = task()
  net = network(given["widths"], given["classes"])
  image = np.random.default_rng(0).normal(size=(1, 1, *given["shape"])).astype(np.float32)
  image = torch.from_numpy(image)

  def seconds():
    start = time.perf_counter()
    with torch.inference_mode():
      sliding_window_inference(
        image,
        (given["patch"],) * 3,
        given["batch"],
        net,
        overlap=given["overlap"],
        mode="gaussian",
      ).numpy()
    return time.perf_counter() - start

  serve(seconds)


if __name__ == "__main__":
  main()
