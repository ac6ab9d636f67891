"""serve: a page to segment scans by clicks, and MONAI Label's REST API, for trained runs."""

import argparse
import contextlib
import pathlib
import secrets
import socket
import sys

from jaxseg import files
from jaxseg.config.ranges import COUNT, FROM_0
from jaxseg.packages import installed
from jaxseg.runs import checkpoint
from jaxseg.verbs.arguments import Parser, check_folder, number
from jaxseg.verbs.fine_tuning import add_options, tuning_of

_NEEDS = {"starlette": "fastapi", "uvicorn": "uvicorn", "multipart": "python-multipart"}
_EVERYWHERE = ("0.0.0.0", "::")


def _parser() -> argparse.ArgumentParser:
  parser = Parser(
    prog="jaxseg serve",
    description="Serves trained runs: open the address that it prints in a browser, click into a "
    "scan and save its segmentation. 3D Slicer and OHIF connect to the same address by their own "
    "plug-ins for MONAI Label. Only this machine can connect unless --host says otherwise; then "
    "every request needs a token.",
  )
  add = parser.add_argument
  add("run", nargs="+", type=pathlib.Path, metavar="RUN", help="run folders, or folders of folds")
  add("--scans", type=pathlib.Path, metavar="FOLDER", help="scans to offer; they are only read")
  add(
    "--folder",
    type=pathlib.Path,
    default=pathlib.Path("annotations"),
    help="where uploads, sessions and labels are kept; default: annotations",
  )
  add("--host", default="127.0.0.1", help="address to listen on; default: 127.0.0.1, this machine")
  add("--port", type=number(int, FROM_0), default=8000, help="default: 8000; 0 takes a free one")
  add("--name", nargs="+", default=[], help="names by which others reach this machine")
  add("--token-file", type=pathlib.Path, metavar="FILE", help="a token of 16 characters or more")
  add("--allow-origin", nargs="+", default=[], metavar="URL", help="a site with OHIF, for example")
  add("--certificate", type=pathlib.Path, metavar="PEM", help="for https, with --key")
  add("--key", type=pathlib.Path, metavar="PEM", help="for https, with --certificate")
  add("--most-mib", type=number(int, COUNT), default=1024, help="of an upload; default: 1024")
  add(
    "--most-voxels",
    type=number(int, COUNT),
    default=2**28,
    help="of a scan that is uploaded; default: 268435456, 512x512x1024",
  )
  add_options(parser)
  add("--checkpoint", choices=("latest", "best"), default="latest", help="default: latest")
  add("--domain", metavar="NAME", help="the stream that the scans are of, as of predict")
  return parser


def _check(wanted) -> None:
  """Raises ValueError for what can be refused before a run is loaded."""
  missing = [package for module, package in _NEEDS.items() if not installed(module)]
  if missing:
    raise ValueError(
      f"the package(s) {', '.join(missing)} are not installed, which the server needs; install "
      f"them (pip install {' '.join(_NEEDS.values())})."
    )
  if (wanted.certificate is None) != (wanted.key is None):
    raise ValueError("--certificate and --key: one without the other; give both, or none.")
  for option in ("certificate", "key"):
    path = getattr(wanted, option)
    if path is not None and not path.is_file():
      raise ValueError(f"--{option} {path}: no such file; check the path.")
  if wanted.scans is not None and not wanted.scans.is_dir():
    raise ValueError(f"--scans {wanted.scans}: is no folder; check the path.")
  if wanted.port > 65535:
    raise ValueError(f"--port {wanted.port}: expected 0 to 65535.")
  check_folder(wanted.folder, "--folder")
  if wanted.scans is not None:
    home, given = wanted.folder.resolve(), wanted.scans.resolve()
    if home == given or given in home.parents:
      raise ValueError(
        f"--folder {wanted.folder}: lies in --scans {wanted.scans}, which is only read; choose "
        "another one."
      )


def _rules(wanted):
  """Who may connect, by the options; a token is made where others than this machine can."""
  from jaxseg.serve.guard import Rules, check_origins, check_token, is_loopback

  own = is_loopback(wanted.host)
  token = None
  if wanted.token_file is not None:
    what, advice = "a token", "write one into it"
    token = check_token(files.read_text(wanted.token_file, what=what, advice=advice).strip())
  elif not own:
    token = secrets.token_urlsafe(32)
  return Rules(
    hosts=frozenset(name.lower() for name in (*_names(wanted.host, own), *wanted.name)),
    token=token,
    origins=check_origins(wanted.allow_origin),
    most_bytes=wanted.most_mib * 2**20,
    secure=wanted.certificate is not None,
  )


def _names(host: str, own: bool) -> set[str]:
  """By which names and addresses this machine is reached."""
  if own:
    return {"localhost", "127.0.0.1", "::1", host}
  if host not in _EVERYWHERE:
    return {host}
  name = socket.gethostname()
  names = {"localhost", "127.0.0.1", "::1", name, socket.getfqdn()}
  with contextlib.suppress(OSError):  # a machine whose own name nobody knows
    names |= {of[4][0] for of in socket.getaddrinfo(name, None)}
  return names


def _run(wanted) -> None:
  _check(wanted)
  rules, tuning = _rules(wanted), tuning_of(wanted)
  # these need the packages that were looked for
  import uvicorn

  from jaxseg.serve import models
  from jaxseg.serve.application import application
  from jaxseg.serve.scans import Scans
  from jaxseg.serve.studio import Studio
  from jaxseg.serve.uploads import Limits

  kind = checkpoint.BEST if wanted.checkpoint == "best" else checkpoint.LATEST
  served = models.open_models(wanted.run, kind=kind, domain=wanted.domain, tuning=tuning)
  limits = Limits(rules.most_bytes, wanted.most_voxels)
  told = next(iter(served.values())).told
  studio = Studio(served, Scans(wanted.folder, wanted.scans, told, limits), limits)
  for note in studio.scans.notes:
    print(f"serve: note: {note}.", file=sys.stderr)
  listener = _listening(wanted.host, wanted.port)
  host = wanted.host if wanted.host not in _EVERYWHERE else socket.gethostname()
  scheme = "https" if rules.secure else "http"
  address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
  if rules.token is not None and not rules.secure:
    print(
      "serve: note: connections are not encrypted, so that scans and the token can be read on the "
      "way; give --certificate and --key, or reach this machine through a tunnel (ssh -L).",
      file=sys.stderr,
    )
  opened = address if rules.token is None else f"{address}?token={rules.token}"
  print(f"{', '.join(served)}: open {opened} (Ctrl-C ends the server)", flush=True)
  config = uvicorn.Config(
    application(studio, rules),
    log_level="warning",
    access_log=False,  # addresses may hold the token
    server_header=False,
    limit_concurrency=64,
    h11_max_incomplete_event_size=2**16,
    ssl_certfile=wanted.certificate,
    ssl_keyfile=wanted.key,
  )
  with contextlib.suppress(KeyboardInterrupt), contextlib.closing(studio.trainings):
    uvicorn.Server(config).run([listener])


def _listening(host: str, port: int) -> socket.socket:
  """A socket that is bound; raises ValueError in words where it cannot be."""
  family = socket.AF_INET6 if ":" in host else socket.AF_INET
  listener = socket.socket(family, socket.SOCK_STREAM)
  listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    listener.bind((host, port))
  except OSError as error:
    listener.close()
    raise ValueError(
      f"--host {host} --port {port}: cannot listen there ({error.strerror}); choose another port, "
      "or 0 for a free one."
    ) from error
  return listener


def main(arguments: list[str]) -> None:
  wanted = _parser().parse_args(arguments)
  try:
    _run(wanted)
  except (ValueError, OSError) as error:
    sys.exit(f"serve: {error}")
