"""MONAI Label's sessions: scans that come with a client and go when its time is over."""

import contextlib
import secrets
import time
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jaxseg import files
from jaxseg.serve import requests, shared_file
from jaxseg.serve.guard import Refusal
from jaxseg.serve.studio import Studio

_FILE = "monai_sessions.json"
_SHORTEST = 60  # seconds that a session lasts at least
_USUAL = 3600


def _read(studio: Studio) -> dict[str, Any]:
  path = studio.scans.home / _FILE
  if not path.is_file():
    return {}
  what = "sessions of MONAI Label's clients"
  return files.read_json(path, what=what, advice="remove the file", kind=dict)


@contextlib.contextmanager
def _changed(studio: Studio) -> Iterator[dict[str, Any]]:
  """The sessions, to be changed; those whose time is over go, and their scans."""
  with shared_file.changed(studio.scans.home / _FILE, lambda: _read(studio)) as told:
    yield told
    now = time.time()
    for name in [n for n, of in told.items() if of["last_access_ts"] + of["expiry"] < now]:
      _forget(studio, told.pop(name))


def _forget(studio: Studio, of: dict[str, Any]) -> None:
  if of["image"] in studio.scans.names():
    studio.forget(of["image"])


async def put(studio: Studio, request: Request) -> Response:
  text = request.query_params.get("expiry", "0")
  asked = int(text) if text.isdecimal() and len(text) < 9 else 0
  async with requests.form(request) as content:
    scan = await requests.work(studio.scans.add, requests.sent(content, "files", paths=True))
  name, now = secrets.token_urlsafe(18), int(time.time())
  told = {
    "name": name,
    "path": "",
    "image": scan.name,
    "meta": {},
    "create_ts": now,
    "last_access_ts": now,
    "expiry": max(_SHORTEST, asked or _USUAL),
  }
  with _changed(studio) as sessions:
    sessions[name] = told
  return JSONResponse({"session_id": name, "session_info": told})


def image(studio: Studio, name: str) -> str:
  """The scan of a client's session; Refusal (404) where there is none."""
  return _accessed(studio, name)["image"]


def _accessed(studio: Studio, name: str) -> dict[str, Any]:
  with _changed(studio) as sessions:
    if name not in sessions or sessions[name]["image"] not in studio.scans.names():
      raise Refusal(404, "there is no such session; upload the scan again.")
    sessions[name] = {**sessions[name], "last_access_ts": int(time.time())}
    return sessions[name]


async def get(studio: Studio, request: Request) -> Response:
  return JSONResponse(_accessed(studio, request.path_params["session"]))


async def delete(studio: Studio, request: Request) -> Response:
  name = request.path_params["session"]
  gone = _accessed(studio, name)
  with _changed(studio) as sessions:
    sessions.pop(name, None)
    _forget(studio, gone)
  return JSONResponse(gone)
