"""The ten tasks of the Medical Segmentation Decathlon, from a local folder or downloaded."""

import pathlib

from jaxseg.data.sources.download import fetch, unpack
from jaxseg.data.sources.nnunet_folder import nnunet_raw
from jaxseg.data.sources.source import Source, existing_folder

_URL = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
# MD5 of each task's .tar, as MONAI's DecathlonDataset has them (monai/apps/datasets.py)
TASKS = {
  "Task01_BrainTumour": "240a19d752f0d9e9101544901065d872",
  "Task02_Heart": "06ee59366e1e5124267b774dbd654057",
  "Task03_Liver": "a90ec6c4aa7f6a3d087205e23d4e6397",
  "Task04_Hippocampus": "9d24dba78a72977dbd1d2e110310f31b",
  "Task05_Prostate": "35138f08b1efaef89d7424d2bcc928db",
  "Task06_Lung": "8afd997733c7fc0432f71255ba4e52dc",
  "Task07_Pancreas": "4f7080cfca169fa8066d17ce6eb061e4",
  "Task08_HepaticVessel": "641d79e80ec66453921d997fbf12a29c",
  "Task09_Spleen": "410d4a301da4e5b2f6f86ec3ddba524e",
  "Task10_Colon": "bad7a188931dc2f6acf72b08eb6202d0",
}


def task_name(task: str) -> str:
  """ "hippocampus", "task04" or "Task04_Hippocampus" -> "Task04_Hippocampus"."""
  wanted = str(task).lower()
  for name in TASKS:
    if wanted in (name.lower(), *name.lower().split("_")):
      return name
  raise ValueError(
    f"config.data.task: '{task}' is no task of the Decathlon; choices: {', '.join(TASKS)}."
  )


def _local(path: str, name: str) -> pathlib.Path:
  root = existing_folder(path, f"the folder of {name}")
  for folder in (root, root / name):
    if (folder / "dataset.json").is_file():
      return folder
  raise FileNotFoundError(
    f"{root}: holds neither dataset.json nor a folder {name}; give the task's folder or the one "
    "above it, or leave path out to download."
  )


def msd(
  task: str,
  *,
  path: str | None = None,
  download: bool = True,
  cache: str = "~/.cache/jaxseg/msd",
  url: str | None = None,
  checksum: str | None = None,
  channels=None,
  check_affine: bool = True,
  labelled: bool | str = True,
  folder: str = "imagesTr",
) -> Source:
  """A task of the Medical Segmentation Decathlon by name.

  Args:
    task: "Task04_Hippocampus" or "hippocampus".
    path: the task's folder, or the folder above it; None looks in `cache`, then downloads.
    download: whether to fetch a task that `cache` lacks; a broken download is resumed.
    cache: folder of downloaded tasks.
    url: another address of the task's .tar than MONAI's mirror.
    checksum: "md5:..." or "sha256:..." of the .tar at `url`; the mirror's are known.
    channels: names of the channels to use; all by default.
    check_affine, labelled, folder: see `nnunet_raw`.

  Raises:
    FileNotFoundError: no such folder, and nothing to download.
    ConnectionError: the server can't be reached.
    ValueError: unknown task, a wrong checksum, or invalid data.

  Source: Antonelli et al., arXiv 2106.05735.
  """
  name = task_name(task)
  options = {"channels": channels, "check_affine": check_affine}
  options |= {"labelled": labelled, "folder": folder}
  if path is not None:
    return nnunet_raw(str(_local(path, name)), **options)
  home = pathlib.Path(cache).expanduser()
  local = home / name
  if not local.is_dir():
    if not download:
      raise FileNotFoundError(
        f"{local}: not found, and config.data.download is False; set it to True, or give the "
        "task's folder as config.data.path."
      )
    if url is None:
      url, checksum = f"{_URL}/{name}.tar", checksum or f"md5:{TASKS[name]}"
    archive = fetch(url, home / f"{name}.tar", checksum=checksum)
    unpack(archive, name, local)
    archive.unlink()
  return nnunet_raw(str(local), **options)
