"""MONAI Label's /infer: an automatic segmentation, or one from a client's points."""

import json
import pathlib
import secrets
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jaxseg import data
from jaxseg.data.formats.geometry import Geometry
from jaxseg.interaction import session
from jaxseg.packages import OnDemand
from jaxseg.serve import models, monai_sessions, requests
from jaxseg.serve.guard import Refusal
from jaxseg.serve.models import Model
from jaxseg.serve.scans import ORIGINAL
from jaxseg.serve.studio import Studio

sitk = OnDemand("SimpleITK")
# under which a run that takes points also segments by itself, as MONAI Label's own apps name it
AUTOMATIC = "_seg"
_POINTS, _PLAIN = "deepedit", "segmentation"
_ENDINGS = (".nii.gz", ".nii", ".nrrd")
_OUTPUTS = ("", "all", "image", "json")
_TYPES = {"uint8": np.uint8, "uint16": np.uint16, "int16": np.int16, "int32": np.int32}
_TYPE = "application/octet-stream"


def offered(studio: Studio) -> dict[str, dict[str, Any]]:
  """Models as MONAI Label's clients list them: those that take points, and all automatic ones."""
  told = {}
  for name, model in studio.models.items():
    if model.run is not None:
      told[name] = _described(model, _POINTS, "from points, beginning with its own segmentation")
      told[f"{name}{AUTOMATIC}"] = _described(model, _PLAIN, "automatic")
    else:
      told[name] = _described(model, _PLAIN, "automatic")
  return told


def _described(model: Model, kind: str, words: str) -> dict[str, Any]:
  network = model.told.config["network"]["name"]
  return {
    "type": kind,
    "labels": _labels(model),
    "dimension": model.told.rank,
    "description": f"{network}, {words}",
    "config": {},
  }


def _labels(model: Model) -> dict[str, int]:
  """Name -> value; plug-ins know the background by this name."""
  labels = model.labels
  named = dict(zip(labels.scored, labels.written[labels.first :], strict=True))
  return {"background": labels.background, **named}


async def infer(studio: Studio, request: Request) -> Response:
  """Answers params as JSON and the label as a file, in one multipart message, or one of the two."""
  query = request.query_params
  output = query.get("output") or ""
  if output not in _OUTPUTS:
    raise Refusal(400, f"output '{output[:20]}': choices: {', '.join(_OUTPUTS[1:])}.")
  name = request.path_params["model"]
  automatic = name.endswith(AUTOMATIC) and name not in studio.models
  model = models.get(studio.models, name.removesuffix(AUTOMATIC) if automatic else name)
  async with requests.form(request) as content:
    params = requests.parse(str(content.get("params") or "{}"))
    if not isinstance(params, dict):
      raise Refusal(400, "params: expected an object.")
    if requests.sent(content, "label", paths=True):
      raise Refusal(400, "label: scribbles in a label file are not used here; send points.")
    ending = _ending(params)
    sent, own = requests.sent(content, "file", paths=True), None
    if query.get("session_id"):
      image = monai_sessions.image(studio, query["session_id"])
    elif sent:
      image = own = (await requests.work(studio.scans.add, sent)).name
    elif query.get("image"):
      image = studio.scans.get(query["image"]).name
    else:
      raise Refusal(400, "expected ?image=, ?session_id= or an uploaded file.")
  try:
    begun = time.perf_counter()
    stored = await requests.work(_answer, studio, model, image, params, automatic)
    seconds = round(time.perf_counter() - begun, 3)
    told = {
      "label_names": _labels(model),
      "latencies": {"infer": seconds, "total": seconds},
      "centroids": {},
    }
    geometry = studio.scans.image(image).geometry
    if params.get("save_label") is True and own is None:
      tag = str(params.get("label_tag") or ORIGINAL)
      await requests.work(studio.scans.write_label, image, stored, tag)
      told |= {"image": image, "label": image, "tag": tag}
    if output == "json":
      return JSONResponse(told)
    file = await requests.work(_encoded, stored, geometry, ending, params)
  finally:
    if own is not None:
      studio.forget(own)
  if output == "image":
    named = {"content-disposition": f'attachment; filename="label{ending}"'}
    return Response(file, media_type=_TYPE, headers=named)
  return _multipart(told, f"label{ending}", file)


def _ending(params: Mapping[str, Any]) -> str:
  ending = params.get("result_extension") or _ENDINGS[0]
  if ending not in _ENDINGS:
    raise Refusal(400, f"result_extension {str(ending)[:20]!r}: choices: {', '.join(_ENDINGS)}.")
  return ending


def _answer(
  studio: Studio, model: Model, image: str, params: Mapping[str, Any], automatic: bool
) -> np.ndarray:
  """(*space) stored values; the same request always has the same answer."""
  raw = studio.scans.image(image)
  asked = _prompts(model, params, raw.geometry.rank)
  if not asked or automatic:
    return models.segment_scan(model, raw, image)[0]
  if model.run is None:
    raise ValueError(f"model '{model.name}' takes no points: it only segments automatically.")
  # of files that were changed the start is another
  key = (model.name, image, studio.scans.stamp(image))
  with model.lock:
    if key not in studio.starts:
      scan = model.run.scan(raw, image)
      studio.starts[key] = scan, session.start(scan)
    scan, state = studio.starts[key]
    return session.labels(scan, session.add(scan, state, asked))


def _prompts(model: Model, params: Mapping[str, Any], rank: int) -> list[dict[str, Any]]:
  """Points as clients send them, (x, y, z) by label, or as foreground and background."""
  names = model.labels.names
  known = {name: name for name in names} | {"background": names[0]}
  if params.get("foreground"):
    label = params.get("label") if len(names) > 2 else names[1]
    if label not in names[1:]:
      raise ValueError(f"label: of which are the points? choices: {', '.join(names[1:])}.")
    known["foreground"] = label
  made = []
  for name, label in known.items():
    points = params.get(name) or []
    if not isinstance(points, list):
      raise ValueError(f"{name}: {str(points)[:60]}; expected a list of points.")
    for point in points:
      made.append({"class": label, "point": _position(point, name, rank)})
  return made


def _position(point, name: str, rank: int) -> list[float]:
  """(x, y, z) -> the order of arrays; of a picture the third number says nothing."""
  numbers = isinstance(point, list) and all(type(i) in (int, float) for i in point)
  if not numbers or len(point) not in (rank, 3):
    raise ValueError(f"{name}: {str(point)[:60]}; expected points of {rank} numbers, x first.")
  return point[:rank][::-1]


def _encoded(
  stored: np.ndarray, geometry: Geometry, ending: str, params: Mapping[str, Any]
) -> bytes:
  """The label as a file in the scan's geometry, of the numbers that the client asks for."""
  kind = params.get("result_dtype")
  if kind is not None and not (isinstance(kind, str) and kind in _TYPES):
    raise ValueError(f"result_dtype {str(kind)[:20]!r}: choices: {', '.join(_TYPES)}.")
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / f"label{ending}"
    if kind is not None:
      of, ends = np.iinfo(_TYPES[kind]), (stored.min(initial=0), stored.max(initial=0))
      if wrong := [end for end in ends if not of.min <= end <= of.max]:
        raise ValueError(
          f"result_dtype '{kind}': holds {of.min} to {of.max}, but a label has the value "
          f"{wrong[0]}; ask for int32."
        )
    if kind is None:
      data.write_label(path, stored, geometry)
    else:
      data.write_image(path, stored.astype(_TYPES[kind]), geometry)
    if ending == ".nrrd" and params.get("result_compress") is not True:
      sitk.WriteImage(sitk.ReadImage(str(path)), str(path), useCompression=False)
    return path.read_bytes()


def _multipart(told: Mapping[str, Any], name: str, file: bytes) -> Response:
  """params and image, as clients take them apart."""
  boundary = secrets.token_hex(16)

  def head(of: str, kind: str) -> bytes:
    return (
      f"--{boundary}\r\nContent-Disposition: form-data; {of}\r\nContent-Type: {kind}\r\n\r\n"
    ).encode()

  content = b"".join(
    [
      head('name="params"', "application/json"),
      json.dumps(told).encode(),
      b"\r\n",
      head(f'name="image"; filename="{name}"', _TYPE),
      file,
      f"\r\n--{boundary}--\r\n".encode(),
    ]
  )
  return Response(content, media_type=f"multipart/form-data; boundary={boundary}")
