"""The requests of the page: scans, sessions with their masks and maps, and the page's own files."""

import functools
import pathlib
import time

import numpy as np
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from jaxseg.interaction import session
from jaxseg.serve import annotations, display, models, requests
from jaxseg.serve.guard import Refusal
from jaxseg.serve.studio import Studio

_STATIC = pathlib.Path(__file__).parent / "static"
_NIFTI = "application/gzip"
_BINARY = "application/octet-stream"


def routes(studio: Studio) -> list:
  """All addresses of the page."""

  def at(path: str, function, *methods: str) -> Route:
    return Route(path, functools.partial(function, studio), methods=list(methods or ("GET",)))

  return [
    at("/", _page),
    Mount("/static", StaticFiles(directory=_STATIC)),
    at("/api/state", _state),
    at("/api/scans", _upload, "POST"),
    at("/api/scans/{scan}/image.nii.gz", _image),
    at("/api/sessions", _begin, "POST"),
    at("/api/sessions/{session}", _session),
    at("/api/sessions/{session}/mask", _mask),
    at("/api/sessions/{session}/mask.nii.gz", _mask_file),
    at("/api/sessions/{session}/prompts", _prompts, "POST"),
    at("/api/sessions/{session}/steps", _step, "POST"),
    at("/api/sessions/{session}/explain", _explain, "POST"),
    at("/api/sessions/{session}/map.nii.gz", _map),
    at("/api/sessions/{session}/save", _save, "POST"),
    at("/api/sessions/{session}/label.nii.gz", _label),
  ]


async def _page(studio: Studio, request: Request) -> Response:
  return FileResponse(_STATIC / "index.html")


async def _state(studio: Studio, request: Request) -> Response:
  return JSONResponse(
    {
      "models": [models.info(model) for model in studio.models.values()],
      "model": models.default(studio.models),
      "scans": studio.scans.names(),
      "explain": list(models.EXPLAIN),
      "most_bytes": studio.limits.most_bytes,
    }
  )


async def _upload(studio: Studio, request: Request) -> Response:
  async with requests.form(request) as content:
    scan = await requests.work(studio.scans.add, requests.sent(content, "file", "files"))
  return JSONResponse({"scan": scan.name, "scans": studio.scans.names()})


async def _image(studio: Studio, request: Request) -> Response:
  channel = request.query_params.get("channel", "0")
  if not channel.isdecimal() or len(channel) > 3:
    raise Refusal(400, "channel: expected its number, from 0.")

  def encoded() -> bytes:
    return display.image(studio.scans.image(request.path_params["scan"]), int(channel))

  return Response(await requests.work(encoded), media_type=_NIFTI)


async def _told(studio: Studio, one: annotations.Annotation, **more) -> Response:
  def content():
    geometry = studio.scans.image(one.scan).geometry
    return annotations.description(one) | {
      "unit": "ml" if geometry.rank == 3 and geometry.directed else "voxels",
      "voxel": float(np.prod(geometry.spacing.astype(np.float64))) / 1000,
      "rank": geometry.rank,
      "others": studio.annotations.others(one),
    }

  return JSONResponse(await requests.work(content) | more)


async def _begin(studio: Studio, request: Request) -> Response:
  asked = await requests.body(request, {"scan": str, "model": str})
  one = await requests.work(studio.annotations.begin, asked["scan"], asked["model"])
  return await _told(studio, one)


async def _one(studio: Studio, request: Request) -> annotations.Annotation:
  return await requests.work(studio.annotations.get, request.path_params["session"])


async def _session(studio: Studio, request: Request) -> Response:
  return await _told(studio, await _one(studio, request))


async def _mask(studio: Studio, request: Request) -> Response:
  one = await _one(studio, request)
  content = await requests.work(lambda: display.voxels(one.index()))
  return Response(content, media_type=_BINARY, headers={"content-encoding": "gzip"})


async def _mask_file(studio: Studio, request: Request) -> Response:
  one = await _one(studio, request)

  def encoded() -> bytes:
    return display.classes(one.index(), studio.scans.image(one.scan).geometry)

  return Response(await requests.work(encoded), media_type=_NIFTI)


async def _prompts(studio: Studio, request: Request) -> Response:
  """Prompts as `interaction.session.add` takes them: of one turn, answered together."""
  one = await _one(studio, request)
  asked = await requests.body(request, {"prompts": list}, seen=int, object=str)

  def step(scan, state):
    if asked["object"] not in (None, state.current):
      state = session.select(scan, state, asked["object"])
    return session.add(scan, state, asked["prompts"])

  begun = time.perf_counter()
  await requests.work(studio.annotations.change, one, asked["seen"], step)
  return await _told(studio, one, answered=time.perf_counter() - begun)


def _of_label(scan, state, name: str):
  """The state at the object that the page's list calls so, and the class to be frozen or thawed.

  Of runs with one class the list has objects; one that is alone stands there by its class's name.
  """
  if len(scan.names) > 2:
    return state, name
  alone = len(state.objects) == 1 and name == scan.names[1]
  if not alone and name not in state.objects:
    listed = ", ".join(state.objects) if len(state.objects) > 1 else scan.names[1]
    raise ValueError(f"there is no label '{name[:40]}' to be frozen; choices: {listed}.")
  if not alone and name != state.current:
    state = session.select(scan, state, name)
  return state, scan.names[1]


def _freeze(scan, state, name: str):
  state, label = _of_label(scan, state, name)
  return session.freeze(scan, state, label=label)


def _thaw(scan, state, name: str):
  state, label = _of_label(scan, state, name)
  return session.thaw(scan, state, label)


def _goes_on(step: session.Step) -> bool:
  """Whether a step is going to an object that is there: a part of what is done to it then."""
  return "object" in step.what and step.region is None


def _undo(scan, state, name: str):
  state = session.undo(state)
  while state.at and _goes_on(state.steps[state.at - 1]):
    state = session.undo(state)
  return state


def _redo(scan, state, name: str):
  goes_on = True
  while goes_on:
    state = session.redo(state)
    goes_on = _goes_on(state.steps[state.at - 1]) and state.at < len(state.steps)
  return state


_STEPS = {
  "undo": _undo,
  "redo": _redo,
  "automatic": lambda scan, state, name: session.reset(state),
  "freeze": _freeze,
  "thaw": _thaw,
  "object": session.select,
}
_NAMED = ("freeze", "thaw", "object")


async def _step(studio: Studio, request: Request) -> Response:
  """undo, redo, automatic (as the session began), freeze and thaw a label, go to an object."""
  one = await _one(studio, request)
  asked = await requests.body(request, {"step": str}, name=str, seen=int)
  if asked["step"] not in _STEPS:
    raise Refusal(400, f"step '{asked['step'][:40]}': choices: {', '.join(_STEPS)}.")
  if asked["step"] in _NAMED and asked["name"] is None:
    raise Refusal(400, f"step '{asked['step']}': expected the name of a label.")

  def step(scan, state):
    return _STEPS[asked["step"]](scan, state, asked["name"])

  await requests.work(studio.annotations.change, one, asked["seen"], step)
  return await _told(studio, one)


async def _explain(studio: Studio, request: Request) -> Response:
  """A map of why the run's automatic answer is what it is, for a label or at a voxel."""
  one = await _one(studio, request)
  asked = await requests.body(request, {"method": str}, label=str, at=list)
  raw = studio.scans.image(one.scan)
  at = asked["at"]
  if at is not None and not all(type(i) is int for i in at):
    raise Refusal(
      400, "at: expected the whole numbers of a voxel, in the order of the scan's axes."
    )
  label = asked["label"] if asked["label"] in one.model.labels.scored else None
  made = await requests.work(
    models.explain_scan, one.model, raw, one.scan, method=asked["method"], label=label, at=at
  )
  studio.maps[one.name] = made.values
  told = {"words": made.words, "notes": list(made.notes), "signed": made.signed}
  return JSONResponse(told | {"most": float(np.abs(made.values).max())})


async def _map(studio: Studio, request: Request) -> Response:
  one = await _one(studio, request)
  if one.name not in studio.maps:
    raise Refusal(404, "there is no map yet; ask for an explanation first.")
  geometry = studio.scans.image(one.scan).geometry
  content = await requests.work(display.values, studio.maps[one.name], geometry)
  return Response(content, media_type=_NIFTI)


async def _save(studio: Studio, request: Request) -> Response:
  """Writes the final label; one that another session saved is kept beside it."""
  one = await _one(studio, request)

  def write():
    return studio.scans.write_label(one.scan, one.stored(), by=one.name)

  path, kept = await requests.work(write)
  home = studio.scans.home
  told = {"file": str(path.relative_to(home)), "folder": str(home)}
  if kept is not None:
    told["note"] = (
      f"The one that was saved before, in another session, is kept as {kept.relative_to(home)}."
    )
  return JSONResponse(told)


async def _label(studio: Studio, request: Request) -> Response:
  """The saved file, for the user's own disk."""
  one = await _one(studio, request)
  path = studio.scans.label(one.scan, "final")
  if not path.is_file():
    raise Refusal(404, "nothing is saved yet; save the segmentation first.")
  await requests.work(studio.scans.check_label, one.scan)
  return FileResponse(path, media_type=_NIFTI, filename=f"{one.scan}_segmentation.nii.gz")
