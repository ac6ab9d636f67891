"""Downloads against a server on the loopback interface: broken off, resumed, verified, unpacked."""

import hashlib
import http.server
import io
import json
import re
import tarfile
import threading

import nibabel as nib
import numpy as np
import pytest

from jaxseg.data.sources.decathlon import TASKS, msd, task_name
from jaxseg.data.sources.download import fetch, unpack


class Server:
  """Serves one body; may break off, and may not know Range."""

  def __init__(self, body: bytes, *, ranges: bool = True):
    self.body, self.ranges = body, ranges
    self.break_after: list[int] = []  # bytes after which each coming answer breaks off
    self.asked: list[str | None] = []
    outer = self

    class Handler(http.server.BaseHTTPRequestHandler):
      def do_GET(self):
        outer.answer(self)

      def log_message(self, *_):
        pass

    self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
    self.thread.start()
    self.url = f"http://127.0.0.1:{self.http.server_port}/a.tar"

  def answer(self, handler):
    asked = handler.headers.get("Range")
    self.asked.append(asked)
    if not handler.path.endswith("a.tar"):
      handler.send_error(404)
      return
    start = int(re.match(r"bytes=(\d+)-", asked).group(1)) if asked and self.ranges else 0
    if start and start >= len(self.body):
      handler.send_error(416)
      return
    handler.send_response(206 if start else 200)
    if start:
      total = len(self.body)
      handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
    handler.send_header("Content-Length", str(len(self.body) - start))
    handler.end_headers()
    body = self.body[start:]
    handler.wfile.write(body[: self.break_after.pop(0)] if self.break_after else body)

  def close(self):
    self.http.shutdown()
    self.http.server_close()


@pytest.fixture
def serve():
  servers = []

  def start(*args, **options):
    servers.append(Server(*args, **options))
    return servers[-1]

  yield start
  for server in servers:
    server.close()


BODY = np.random.default_rng(0).bytes(3_000_000)
MD5 = "md5:" + hashlib.md5(BODY).hexdigest()
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("checksum", [MD5, SHA256, None])
def test_whole_download_is_verified_and_renamed(serve, tmp_path, checksum):
  server = serve(BODY)
  file = fetch(server.url, tmp_path / "a.tar", checksum=checksum)
  assert file.read_bytes() == BODY
  assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]


def test_broken_download_goes_on_where_it_stopped(serve, tmp_path):
  server = serve(BODY)
  server.break_after = [1_000_000, 700_000]
  assert fetch(server.url, tmp_path / "a.tar", checksum=MD5).read_bytes() == BODY
  assert server.asked == [None, "bytes=1000000-", "bytes=1700000-"]


def test_download_of_an_earlier_run_is_resumed(serve, tmp_path):
  server = serve(BODY)
  (tmp_path / "a.tar.part").write_bytes(BODY[:1_234_567])
  assert fetch(server.url, tmp_path / "a.tar", checksum=MD5).read_bytes() == BODY
  assert server.asked == ["bytes=1234567-"]


def test_complete_part_needs_no_more_bytes(serve, tmp_path):
  server = serve(BODY)
  (tmp_path / "a.tar.part").write_bytes(BODY)
  assert fetch(server.url, tmp_path / "a.tar", checksum=MD5).read_bytes() == BODY


def test_server_without_range_starts_over(serve, tmp_path):
  server = serve(BODY, ranges=False)
  server.break_after = [1_000_000]
  assert fetch(server.url, tmp_path / "a.tar", checksum=MD5).read_bytes() == BODY
  assert server.asked == [None, "bytes=1000000-"]


def test_wrong_checksum_is_refused_and_nothing_is_left(serve, tmp_path):
  server = serve(BODY)
  with pytest.raises(ValueError, match=r"md5 checksum is [0-9a-f]{32}, expected 0000"):
    fetch(server.url, tmp_path / "a.tar", checksum="md5:0000")
  assert list(tmp_path.iterdir()) == []


def test_server_that_keeps_breaking_off_leaves_the_part_for_later(serve, tmp_path):
  server = serve(BODY)
  server.break_after = [1000] * 5
  with pytest.raises(ConnectionError, match=r"broke off 5 times.*call again to resume"):
    fetch(server.url, tmp_path / "a.tar", checksum=MD5)
  assert (tmp_path / "a.tar.part").read_bytes() == BODY[:5000]
  assert fetch(server.url, tmp_path / "a.tar", checksum=MD5).read_bytes() == BODY


def test_missing_address_and_missing_server_are_told(serve, tmp_path):
  server = serve(BODY)
  with pytest.raises(ConnectionError, match="the server answers 404"):
    fetch(server.url + "x", tmp_path / "a.tar")
  server.close()
  with pytest.raises(ConnectionError, match="cannot be reached"):
    fetch(server.url, tmp_path / "a.tar")


def add(tar, name, body):
  info = tarfile.TarInfo(name)
  info.size = len(body)
  tar.addfile(info, io.BytesIO(body))


@pytest.mark.parametrize("name", ["../evil", "Task/../../evil"])
def test_archive_that_reaches_outside_is_refused(tmp_path, name):
  with tarfile.open(tmp_path / "a.tar", "w") as tar:
    add(tar, name, b"x")
  (tmp_path / "home").mkdir()
  with pytest.raises(ValueError, match=r"a\.tar: holds a member that would be written outside"):
    unpack(tmp_path / "a.tar", "Task", tmp_path / "home" / "Task")
  assert not list(tmp_path.rglob("evil"))


def test_truncated_archive_is_told(tmp_path):
  (tmp_path / "a.tar").write_bytes(b"no tar at all")
  with pytest.raises(ValueError, match=r"a\.tar: is no whole tar archive"):
    unpack(tmp_path / "a.tar", "Task", tmp_path / "Task")


def task_archive(tmp_path):
  """A tiny Task04_Hippocampus.tar, as the Decathlon packs them."""
  voxels = np.arange(24).reshape(2, 3, 4).astype(np.float32)
  nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "i.nii.gz")
  nib.save(nib.Nifti1Image((voxels > 9).astype(np.uint8), np.eye(4)), tmp_path / "l.nii.gz")
  listed = [{"image": "./imagesTr/h_1.nii.gz", "label": "./labelsTr/h_1.nii.gz"}]
  description = {
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "Anterior"},
    "training": listed,
  }
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode="w") as tar:
    root = "Task04_Hippocampus"
    add(tar, f"{root}/dataset.json", json.dumps(description).encode())
    add(tar, f"{root}/imagesTr/h_1.nii.gz", (tmp_path / "i.nii.gz").read_bytes())
    add(tar, f"{root}/imagesTr/._h_1.nii.gz", b"left by macOS")
    add(tar, f"{root}/labelsTr/h_1.nii.gz", (tmp_path / "l.nii.gz").read_bytes())
  return buffer.getvalue()


def test_task_is_downloaded_once_then_read_from_its_folder(serve, tmp_path):
  body = task_archive(tmp_path)
  server = serve(body)
  options = {"cache": tmp_path / "msd", "checksum": "md5:" + hashlib.md5(body).hexdigest()}
  source = msd("hippocampus", url=server.url, **options)
  assert source.cases == ("h_1",)
  assert source.read("h_1").image.shape == (4, 3, 2, 1)
  msd("hippocampus", url=server.url, **options)
  assert len(server.asked) == 1
  assert [p.name for p in (tmp_path / "msd").iterdir()] == ["Task04_Hippocampus"]
  for path in (tmp_path / "msd", tmp_path / "msd" / "Task04_Hippocampus"):
    assert msd("Task04_Hippocampus", path=path).cases == ("h_1",)


def test_checksum_of_the_mirror_is_used_by_default(tmp_path, monkeypatch):
  asked = []
  monkeypatch.setattr(
    "jaxseg.data.sources.decathlon.fetch",
    lambda url, target, *, checksum: asked.append((url, checksum)) or target,
  )
  with pytest.raises(FileNotFoundError):
    msd("spleen", cache=tmp_path)
  assert asked == [
    (
      "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task09_Spleen.tar",
      "md5:410d4a301da4e5b2f6f86ec3ddba524e",
    )
  ]


def test_tasks_have_names_and_numbers():
  assert len(TASKS) == 10
  assert task_name("Prostate") == task_name("task05") == "Task05_Prostate"
  with pytest.raises(ValueError, match=r"'brain' is no task .*Task01_BrainTumour"):
    task_name("brain")


def test_local_folder_is_told_when_it_is_missing(tmp_path):
  with pytest.raises(FileNotFoundError, match="the folder of Task04_Hippocampus not found"):
    msd("hippocampus", path=tmp_path / "gone")
  with pytest.raises(FileNotFoundError, match=r"holds neither dataset\.json nor a folder Task04"):
    msd("hippocampus", path=tmp_path)
  with pytest.raises(FileNotFoundError, match=r"config\.data\.download is False"):
    msd("hippocampus", cache=tmp_path, download=False)


def test_real_hippocampus_is_found_by_its_folder(real_data):
  assert len(msd("hippocampus", path=real_data / "msd_hippocampus").cases) == 200
