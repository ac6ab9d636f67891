"""A server in a test: runs whose answers are known, a folder, and a client that calls it."""

import gzip
import io
import pathlib
import socket
import threading
import time
import warnings

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("starlette", reason="the server needs starlette, which is not installed")
pytest.importorskip("multipart", reason="the server needs python-multipart, not installed")
pytest.importorskip("httpx", reason="the client of these tests needs httpx, not installed")

with warnings.catch_warnings():
  warnings.simplefilter("ignore")
  from starlette.testclient import TestClient

from jaxseg.serve import models
from jaxseg.serve.application import application
from jaxseg.serve.guard import Rules
from jaxseg.serve.scans import Scans
from jaxseg.serve.studio import Studio
from jaxseg.serve.uploads import Limits

HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
AFFINE = np.array([[0, 0, 2.0, 5], [-1.5, 0, 0, 7], [0, 1.0, 0, -3], [0, 0, 0, 1]])


def studio(home, runs, *, scans=None, most=2**24, tuning=None) -> Studio:
  served = models.open_models([pathlib.Path(run) for run in runs], tuning=tuning)
  limits = Limits(most, 10**7)
  told = next(iter(served.values())).told
  return Studio(served, Scans(home, scans, told, limits), limits)


def rules(*, token=None, origins=(), most=2**24, hosts=HOSTS) -> Rules:
  return Rules(hosts, token, frozenset(origins), most)


def client(of: Studio, **options) -> TestClient:
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    return TestClient(
      application(of, rules(**options)),
      base_url="http://127.0.0.1:8000",
      raise_server_exceptions=False,
      follow_redirects=False,
    )


class Running:
  """The server on a free port of this machine, in a thread, until it is closed."""

  def __init__(self, of: Studio, **options):
    uvicorn = pytest.importorskip("uvicorn", reason="the server needs uvicorn, not installed")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    self.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(application(of, rules(**options)), log_level="warning")
    self._server = uvicorn.Server(config)
    self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
    self._thread.start()
    while not self._server.started:
      time.sleep(0.02)

  def close(self) -> None:
    self._server.should_exit = True
    self._thread.join(20)


def volume(shape=(9, 12, 10), *, affine=AFFINE, seed=0, dark=True) -> bytes:
  """A scan as a compressed NIfTI, (x, y, z) of that shape; dark: nothing is segmented in it."""
  values = np.random.default_rng(seed).random(shape).astype(np.float32)
  image = nib.Nifti1Image(-1 - values if dark else values, affine)
  return gzip.compress(image.to_bytes(), 1)


def picture(shape=(32, 40)) -> bytes:
  import imageio.v3 as imageio

  values = (np.random.default_rng(0).random(shape) * 40).astype(np.uint8)
  return imageio.imwrite("<bytes>", values, extension=".png")


def array(content: bytes):
  """A NIfTI that was sent: the image."""
  holder = nib.FileHolder(fileobj=io.BytesIO(gzip.decompress(content)))
  return nib.Nifti1Image.from_file_map({"header": holder, "image": holder})
