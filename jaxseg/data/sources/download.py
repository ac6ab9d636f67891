"""Downloads that can be interrupted: resumed, verified, unpacked safely, then renamed."""

import hashlib
import http.client
import os
import pathlib
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request

import tqdm

_BLOCK = 1 << 20
_ATTEMPTS = 5


def _stream(url: str, part: pathlib.Path, timeout: float) -> bool:
  """Fetches what `part` lacks; True when it is whole as far as the server tells."""
  have = part.stat().st_size if part.exists() else 0
  request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
  try:
    response = urllib.request.urlopen(request, timeout=timeout)
  except urllib.error.HTTPError as error:
    if error.code == 416 and have:  # nothing lies beyond what we have: the checksum decides
      return True
    raise
  with response:
    resumed = response.status == 206
    if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
      part.unlink()
      return False
    start = have if resumed else 0  # a server without Range sends the whole file again
    length = response.headers.get("Content-Length")
    total = None if length is None else start + int(length)
    bar = tqdm.tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem)
    with open(part, "ab" if resumed else "wb") as file, bar:
      while block := response.read(_BLOCK):
        file.write(block)
        bar.update(len(block))
  return total is None or part.stat().st_size >= total


def _digest(file: pathlib.Path, algorithm: str) -> str:
  with open(file, "rb") as stream:
    return hashlib.file_digest(stream, algorithm).hexdigest()


def fetch(
  url: str, target: pathlib.Path, *, checksum: str | None = None, timeout: float = 60
) -> pathlib.Path:
  """Downloads `url` to `target`, going on where an earlier attempt stopped (`target`.part).

  Args:
    url: http or https address; the server may or may not know Range requests.
    target: file to make; it appears only when it is whole and verified.
    checksum: "md5:..." or "sha256:..."; None takes the file unverified.
    timeout: seconds without an answer.

  Raises:
    ConnectionError: the server can't be reached, or keeps breaking off; a later call resumes.
    ValueError: the checksum differs; what was downloaded is removed.
  """
  target.parent.mkdir(parents=True, exist_ok=True)
  part = target.with_name(target.name + ".part")
  problem: Exception | str = "the connection broke off"
  for _ in range(_ATTEMPTS):
    size = part.stat().st_size if part.exists() else 0
    try:
      if _stream(url, part, timeout):
        break
    except urllib.error.HTTPError as error:
      raise ConnectionError(
        f"{url}: the server answers {error.code} {error.reason}; check the address, or download "
        "the file elsewhere and give its folder."
      ) from error
    except (OSError, http.client.HTTPException) as error:
      problem = error
      if not part.exists() or part.stat().st_size == size:
        raise ConnectionError(
          f"{url}: cannot be reached ({error}); try again later (it resumes), or download it "
          "elsewhere and give its folder."
        ) from error
  else:
    raise ConnectionError(
      f"{url}: broke off {_ATTEMPTS} times ({problem}); {part} holds what came, call again to "
      "resume."
    )
  if checksum is not None:
    algorithm, _, expected = checksum.partition(":")
    found = _digest(part, algorithm)
    if found != expected:
      part.unlink()
      raise ValueError(
        f"{url}: the {algorithm} checksum is {found}, expected {expected}; the download is "
        "removed: try again, or correct the checksum if the publisher changed the file."
      )
  os.replace(part, target)
  return target


def unpack(archive: pathlib.Path, folder: str, target: pathlib.Path) -> pathlib.Path:
  """Unpacks the top folder `folder` of a tar archive to `target`, which appears whole.

  Members that would land outside (absolute paths, .., links out) are refused with ValueError.
  """
  with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacking-") as temporary:
    try:
      with tarfile.open(archive) as tar:
        tar.extractall(temporary, filter="data")
    except tarfile.FilterError as error:
      raise ValueError(
        f"{archive}: holds a member that would be written outside its folder ({error}); the "
        "archive is not to be trusted."
      ) from error
    except (tarfile.TarError, EOFError) as error:
      raise ValueError(f"{archive}: is no whole tar archive ({error}); remove it.") from error
    found = pathlib.Path(temporary) / folder
    if not found.is_dir():
      raise ValueError(f"{archive}: does not hold the folder {folder}.")
    shutil.move(found, target)
  return target
