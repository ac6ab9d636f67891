"""What requests bring, checked, and how answers and refusals are told."""

import contextlib
import json
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jaxseg import files
from jaxseg.build import suggestion
from jaxseg.serve.guard import Refusal

# of a multipart request: slices of a series come as files of their own
_FILES, _FIELDS = 5000, 50
_ADVICE = "correct the request"
# JAX adds lines of its own below this to errors of what it traces
_TRACED = "\n--------------------"


async def body(request: Request, fields: Mapping[str, type | tuple[type, ...]], **optional) -> dict:
  """The JSON object of a request: `fields` must be there, `optional` may; nothing else.

  Raises Refusal (400) in one sentence.
  """
  try:
    text = (await request.body()).decode("utf-8")
    told = parse(text or "{}")
    files.check_fields(told, "the request", advice=_ADVICE, fields=fields)
    known = {name: told[name] for name in optional if told.get(name) is not None}
    files.check_fields(
      known, "the request", advice=_ADVICE, fields={name: optional[name] for name in known}
    )
  except UnicodeDecodeError as error:
    raise Refusal(400, f"the request: is no text in UTF-8 ({error.reason}); {_ADVICE}.") from error
  except ValueError as error:
    raise Refusal(400, str(error)) from error
  for name in told:
    if name not in fields and name not in optional:
      near = suggestion(name, [*fields, *optional])
      raise Refusal(400, f"the request has no field '{name[:40]}'{near}; {_ADVICE}.")
  return {name: told[name] for name in fields} | dict.fromkeys(optional) | known


def parse(text: str) -> Any:
  """JSON of a request; raises ValueError in words, for numbers that are none as well."""
  told = files.parse_json(text, "the request", what="JSON", advice=_ADVICE)
  with contextlib.suppress(ValueError):
    json.dumps(told, allow_nan=False)
    return told
  raise ValueError(f"the request: holds a number that is NaN or infinite; {_ADVICE}.")


@contextlib.asynccontextmanager
async def form(request: Request):
  """The fields and files of a multipart request; files lie in temporary ones until the end."""
  if not request.headers.get("content-type", "").startswith("multipart/form-data"):
    raise Refusal(415, "expected an upload (multipart/form-data) with a file.")
  try:
    content = await request.form(max_files=_FILES, max_fields=_FIELDS)
  except HTTPException as error:
    raise Refusal(400, f"the upload cannot be read: {error.detail}") from error
  try:
    yield content
  finally:
    await content.close()


def sent(content, *names: str, paths: bool = False) -> list[tuple[str, Any]]:
  """The files under some fields of a form: (name, stream); of `paths` their last part."""
  return [
    (_last(of.filename or "") if paths else of.filename or "", of.file)
    for name, of in content.multi_items()
    if name in names and hasattr(of, "file")
  ]


def _last(path: str) -> str:
  return path.replace("\\", "/").rpartition("/")[2]


async def work(function: Callable, *arguments, **options):
  """Calls what computes or reads in a thread, so that others are answered meanwhile."""
  return await run_in_threadpool(function, *arguments, **options)


def refused(request: Request, refusal: Refusal) -> Response:
  return JSONResponse({"detail": refusal.words}, refusal.status)


def wrong(request: Request, error: Exception) -> Response:
  """What the package says of bad input: one sentence, without what JAX adds to it."""
  return JSONResponse({"detail": str(error).split(_TRACED)[0].strip()}, 400)


def unknown(request: Request, error: HTTPException) -> Response:
  words = {404: "there is nothing at this address", 405: "this address takes no such method"}
  detail = words.get(error.status_code, error.detail)
  return JSONResponse({"detail": f"{detail}."}, error.status_code)


def failed(request: Request, error: Exception) -> Response:
  """Told to the one who runs the server, and to the client that something is wrong there."""
  if isinstance(error, files.DiskFull):
    return JSONResponse({"detail": "the server's disk is full; free room there."}, 507)
  traceback.print_exception(error)
  words = f"the server failed ({type(error).__name__}); what was done before is kept."
  return JSONResponse({"detail": words}, 500)


HANDLERS = {
  Refusal: refused,
  ValueError: wrong,
  HTTPException: unknown,
  OSError: failed,
  Exception: failed,
}
