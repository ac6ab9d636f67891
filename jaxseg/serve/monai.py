"""The REST API of MONAI Label: info, datastore, active learning, training, sessions.

3D Slicer's and OHIF's own plug-ins call it; addresses, parameters and answers are theirs
(github.com/Project-MONAI/MONAILabel). What they send beyond that (devices, MONAI's options) has no
meaning here and is not looked at. `monai_infer` answers /infer.
"""

import functools
import importlib.metadata
import random
import secrets
import tempfile
import time
from typing import Any

import numpy as np
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from jaxseg import data
from jaxseg.build import suggestion
from jaxseg.serve import models, monai_infer, monai_sessions, requests, uploads
from jaxseg.serve.guard import Refusal
from jaxseg.serve.scans import FINAL, stem
from jaxseg.serve.studio import Studio

_STRATEGIES = {
  "uncertainty": "the scan that the first model is least sure of (mean entropy of its voxels)",
  "first": "the first without a final label",
  "random": "any without a final label",
}
_TYPE = "application/octet-stream"


def routes(studio: Studio, token: str | None) -> list:
  """All addresses of MONAI Label's API that are answered."""

  def at(path: str, function, *methods: str) -> Route:
    return Route(path, functools.partial(function, studio), methods=list(methods or ("GET",)))

  return [
    Route("/auth/", functools.partial(_auth, token)),
    Route("/auth/token", functools.partial(_login, token), methods=["POST"]),
    at("/info/", _info),
    at("/datastore/", _datastore),
    at("/datastore/", _add_image, "PUT"),
    at("/datastore/", _remove, "DELETE"),
    at("/datastore/image", _get_image),
    at("/datastore/image/info", _image_info),
    at("/datastore/label", _get_label),
    at("/datastore/label", _put_label, "PUT"),
    at("/datastore/label/info", _label_info),
    at("/infer/{model}", monai_infer.infer, "POST"),
    at("/activelearning/{strategy}", _sample, "POST"),
    at("/session/", monai_sessions.put, "PUT"),
    at("/session/{session}", monai_sessions.get),
    at("/session/{session}", monai_sessions.delete, "DELETE"),
    at("/train/", _train, "POST"),
    at("/train/", _training),
    at("/train/", _stop, "DELETE"),
    at("/train/{model}", _train, "POST"),
  ]


async def _auth(token: str | None, request: Request) -> Response:
  return JSONResponse({"enabled": token is not None, "client_id": "jaxseg", "realm": None})


async def _login(token: str | None, request: Request) -> Response:
  """The token against the token: plug-ins ask for a name and a password, which is the token."""
  if token is None:
    return JSONResponse({"access_token": None, "token_type": None})
  content = await request.form(max_files=0, max_fields=20)
  if not secrets.compare_digest(str(content.get("password", "")).encode(), token.encode()):
    raise Refusal(401, "the password is wrong: it is the token that the server printed.")
  return JSONResponse({"access_token": token, "token_type": "bearer"})


async def _info(studio: Studio, request: Request) -> Response:
  offered = monai_infer.offered(studio)
  labels: dict[str, int] = {}
  for of in offered.values():
    labels |= {name: value for name, value in of["labels"].items() if name not in labels}
  trainers = {
    name: {"description": f"{name}, from its weights on final labels", "config": {"steps": 200}}
    for name in studio.models
  }
  return JSONResponse(
    {
      "name": "jaxseg",
      "description": "Interactive and automatic segmentation by jaxseg",
      "version": importlib.metadata.version("jaxseg"),
      "labels": sorted(labels, key=labels.get),
      "models": offered,
      "trainers": trainers,
      "strategies": {name: {"description": what} for name, what in _STRATEGIES.items()},
      "scoring": {},
      "train_stats": {name: {} for name in trainers},
      "datastore": studio.scans.status(),
      "config": {},
    }
  )


# datastore


def _label_facts(studio: Studio, name: str, tag: str) -> dict[str, Any]:
  path = studio.scans.label(name, tag)
  return {"ts": int(path.stat().st_mtime), "name": path.name}


def _image_facts(studio: Studio, name: str) -> dict[str, Any]:
  scan = studio.scans.get(name)
  facts = {"ts": int(scan.since), "name": _file_name(scan)}
  return facts | ({"SeriesInstanceUID": scan.series} if scan.series else {})


def _file_name(scan) -> str:
  """What a scan's file is called when it is sent: several files become one NIfTI."""
  return scan.case.files[0].name if len(scan.case.files) == 1 else f"{scan.name}.nii.gz"


def _ending(scan) -> str:
  name = _file_name(scan)
  return name[len(stem(name)) :]


async def _datastore(studio: Studio, request: Request) -> Response:
  kind, scans = request.query_params.get("output") or "stats", studio.scans
  if kind == "stats":
    return JSONResponse(scans.status())
  if kind == "train":
    done = [name for name in scans.names() if FINAL in scans.tags(name)]
    rows = [{"image": name, "label": f"labels/{FINAL}/{name}.nii.gz"} for name in done]
    return JSONResponse(rows)
  if kind != "all":
    raise Refusal(400, "output: choices: stats, train, all.")
  objects = {
    name: {
      "image": {"ext": _ending(scans.get(name)), "info": _image_facts(studio, name)},
      "labels": {
        tag: {"ext": ".nii.gz", "info": _label_facts(studio, name, tag)} for tag in scans.tags(name)
      },
    }
    for name in scans.names()
  }
  return JSONResponse({"name": "jaxseg", "description": "scans", "objects": objects})


async def _add_image(studio: Studio, request: Request) -> Response:
  async with requests.form(request) as content:
    name = request.query_params.get("image", "")
    scan = await requests.work(studio.scans.add, requests.sent(content, "file", paths=True), name)
  return JSONResponse({"image": scan.name})


async def _remove(studio: Studio, request: Request) -> Response:
  name, kind = _asked(request, "id"), request.query_params.get("type", "image")
  if kind == "image":
    await requests.work(studio.forget, name)
  elif kind in ("label", "label_tag"):
    tags = studio.scans.tags(name) if kind == "label" else [_asked(request, "tag")]
    for tag in tags:
      studio.scans.label(name, tag).unlink(missing_ok=True)
  else:
    raise Refusal(400, "type: choices: image, label, label_tag.")
  return JSONResponse({})


def _asked(request: Request, name: str) -> str:
  if not (value := request.query_params.get(name)):
    raise Refusal(400, f"the address lacks '{name}'; add ?{name}=.")
  return value


async def _get_image(studio: Studio, request: Request) -> Response:
  scan = studio.scans.get(_asked(request, "image"))
  if len(scan.case.files) == 1:
    return FileResponse(scan.case.files[0], media_type=_TYPE, filename=_file_name(scan))

  def packed():
    raw = studio.scans.image(scan.name)
    folder = tempfile.mkdtemp(dir=studio.scans.home, prefix=".sending-")
    data.write_image(f"{folder}/{_file_name(scan)}", raw.image, raw.geometry)
    return folder

  folder = await requests.work(packed)
  path, done = f"{folder}/{_file_name(scan)}", BackgroundTask(uploads.remove, folder)
  return FileResponse(path, media_type=_TYPE, filename=_file_name(scan), background=done)


async def _image_info(studio: Studio, request: Request) -> Response:
  return JSONResponse(_image_facts(studio, _asked(request, "image")))


def _there(studio: Studio, request: Request):
  tag = request.query_params.get("tag") or FINAL
  path = studio.scans.label(_asked(request, "label"), tag)
  if not path.is_file():
    raise Refusal(404, f"there is no label '{tag}' of that scan yet.")
  studio.scans.check_label(request.query_params["label"])
  return path, tag


async def _get_label(studio: Studio, request: Request) -> Response:
  path, _ = _there(studio, request)
  return FileResponse(path, media_type=_TYPE, filename=path.name)


async def _label_info(studio: Studio, request: Request) -> Response:
  _, tag = _there(studio, request)
  return JSONResponse(_label_facts(studio, _asked(request, "label"), tag))


async def _put_label(studio: Studio, request: Request) -> Response:
  image, tag = _asked(request, "image"), request.query_params.get("tag") or FINAL
  async with requests.form(request) as content:
    labels = requests.sent(content, "label", paths=True)
    if len(labels) != 1:
      raise Refusal(400, "expected one file 'label'.")
    await requests.work(_take_label, studio, image, tag, *labels[0])
  return JSONResponse({"image": image, "label": studio.scans.get(image).name})


def _take_label(studio: Studio, image: str, tag: str, name: str, stream) -> None:
  if not name.endswith(".bin"):
    studio.scans.receive_label(image, name, stream, tag)
    return
  # OHIF sends the voxels alone, as 16 bits in the scan's order
  raw = studio.scans.image(image)
  size = raw.geometry.shape
  content = stream.read(int(np.prod(size)) * 2 + 1)
  if len(content) != int(np.prod(size)) * 2:
    raise ValueError(f"label.bin: expected 2 bytes for each of the scan's {size} voxels.")
  stored = np.frombuffer(content, "<u2").reshape(size)
  studio.scans.write_label(image, stored.astype(np.int32), tag)


# active learning


async def _sample(studio: Studio, request: Request) -> Response:
  strategy = request.path_params["strategy"]
  if strategy not in _STRATEGIES:
    near = suggestion(strategy, _STRATEGIES)
    raise Refusal(
      404, f"there is no strategy '{strategy[:40]}'{near}; choices: {', '.join(_STRATEGIES)}."
    )
  name = await requests.work(_next, studio, strategy)
  if name is None:
    return JSONResponse({})
  scan = studio.scans.get(name)
  told = {
    "id": name,
    **_image_facts(studio, name),
    "strategy": {strategy: {"ts": int(time.time())}},
  }
  if len(scan.case.files) == 1:
    told["path"] = str(scan.case.files[0])
  if strategy == "uncertainty":
    told["uncertainty"] = await requests.work(_uncertainty, studio, name)
  return JSONResponse(told)


def _next(studio: Studio, strategy: str) -> str | None:
  names = studio.scans.unlabelled()
  if not names:
    return None
  if strategy == "random":
    return random.choice(names)
  if strategy == "first":
    return names[0]
  known, refused = {}, None
  for name in names:
    try:
      known[name] = _uncertainty(studio, name)
    except ValueError as error:
      # the others are ranked without a damaged one, which is told where it is opened
      refused = error
  if not known:
    raise refused
  return max(known, key=known.get)


def _uncertainty(studio: Studio, name: str) -> float:
  """Of the model that a client is offered first, computed again only if a file was changed."""
  stamp, model = studio.scans.stamp(name), studio.models[models.default(studio.models)]
  known = studio.uncertainties.get(name)
  if known is None or known[0] != stamp:
    known = stamp, models.uncertainty(model, studio.scans.image(name), name)
    studio.uncertainties[name] = known
  return known[1]


# training


async def _train(studio: Studio, request: Request) -> Response:
  """Of one model, or as the old clients ask: of the first."""
  name = request.path_params.get("model") or models.default(studio.models)
  model = models.get(studio.models, name)
  text = (await request.body()).decode("utf-8", "replace")
  params = requests.parse(text or "{}")
  if not isinstance(params, dict):
    raise Refusal(400, "expected the parameters of a training as an object.")
  own = params.get(name) if isinstance(params.get(name), dict) else params
  return JSONResponse(await requests.work(studio.trainings.start, model, own))


async def _training(studio: Studio, request: Request) -> Response:
  running, jobs = studio.trainings.running(), studio.trainings.all()
  if request.query_params.get("check_if_running") == "true":
    if running is None:
      raise Refusal(404, "no training runs.")
    return JSONResponse(running)
  if not jobs:
    raise Refusal(404, "there was no training yet.")
  return JSONResponse(jobs if request.query_params.get("all") == "true" else jobs[-1])


async def _stop(studio: Studio, request: Request) -> Response:
  return JSONResponse(studio.trainings.stop())
