"""MONAI Label's sessions: scans that come with a client and go when its time is over."""

import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jaxseg import files
from jaxseg.serve import requests
from jaxseg.serve.guard import Refusal
from jaxseg.serve.studio import Studio

_FILE = "monai_sessions.json"
_SHORTEST = 60  # seconds that a session lasts at least
_USUAL = 3600


def _read(studio: Studio) -> dict[str, Any]:
  path = studio.scans.home / _FILE
  if not path.is_file():
    return {}
  return files.read_json(path, what="sessions of MONAI Label's clients", advice="remove the file")


def _write(studio: Studio, told: dict[str, Any]) -> None:
  """Writes them, without those whose time is over and their scans."""
  kept = {}
  for name, of in told.items():
    if of["last_access_ts"] + of["expiry"] < time.time():
      _forget(studio, of)
    else:
      kept[name] = of
  files.write_json(studio.scans.home / _FILE, kept)


def _forget(studio: Studio, of: dict[str, Any]) -> None:
  if of["image"] in studio.scans.names():
    studio.forget(of["image"])


async def put(studio: Studio, request: Request) -> Response:
  text = request.query_params.get("expiry", "0")
  asked = int(text) if text.isdigit() and len(text) < 9 else 0
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
  _write(studio, {**_read(studio), name: told})
  return JSONResponse({"session_id": name, "session_info": told})


def image(studio: Studio, name: str) -> str:
  """The scan of a client's session; Refusal (404) where there is none."""
  told = _read(studio)
  if name not in told or told[name]["image"] not in studio.scans.names():
    raise Refusal(404, "there is no such session; upload the scan again.")
  told[name]["last_access_ts"] = int(time.time())
  _write(studio, told)
  return told[name]["image"]


async def get(studio: Studio, request: Request) -> Response:
  name = request.path_params["session"]
  image(studio, name)
  return JSONResponse(_read(studio)[name])


async def delete(studio: Studio, request: Request) -> Response:
  name = request.path_params["session"]
  image(studio, name)
  told = _read(studio)
  gone = told.pop(name)
  _forget(studio, gone)
  _write(studio, told)
  return JSONResponse(gone)
