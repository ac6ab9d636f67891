"""Which requests reach the server: by host, by origin, by token and by size."""

import hmac
import http.cookies
import ipaddress
import json
import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import parse_qs

COOKIE = "jaxseg_token"
# of a request that is no upload
_SMALL = 2**20
_SAFE = ("GET", "HEAD", "OPTIONS")
# shown without a token: what a client asks first
_OPEN = ("/auth/", "/auth/token", "/health")
_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
_HEADERS = {
  # NiiVue carries its fonts as data, and decodes Blosc by WebAssembly
  "content-security-policy": (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
  ),
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-store",
}


class Rules(NamedTuple):
  """What a request must fulfil.

  Attributes:
    hosts: names and addresses that the server is reached by, without ports; a page of another site
      that makes its own name point here (DNS rebinding) sends that name.
    token: what each request must bring; None where only this machine's user connects.
    origins: of pages on other servers (OHIF) that may call the API: scheme://host[:port].
    most_bytes: of an upload.
    secure: whether connections are encrypted, so that the cookie is for these alone.
  """

  hosts: frozenset[str]
  token: str | None
  origins: frozenset[str]
  most_bytes: int
  secure: bool = False


def is_loopback(host: str) -> bool:
  """Whether a name or address is this machine's own."""
  if host == "localhost":
    return True
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return False


def check_origins(origins: Collection[str]) -> frozenset[str]:
  """Raises ValueError for what is no single origin; "*" would open every scan to every site."""
  for origin in origins:
    if not _ORIGIN.fullmatch(origin):
      raise ValueError(
        f"--allow-origin {origin}: expected the origin of one site, as https://ohif.hospital.org."
      )
  return frozenset(origins)


def check_token(token: str) -> str:
  """Raises ValueError for a token that can be guessed, or not be sent."""
  if len(token) < 16 or not re.fullmatch(r"[A-Za-z0-9._~-]+", token):
    raise ValueError(
      "--token-file: the token in it must have 16 characters or more, of letters, digits and ._~-."
    )
  return token


class Refusal(Exception):
  """A request that is not answered: a status, and one sentence."""

  def __init__(self, status: int, words: str):
    super().__init__(words)
    self.status, self.words = status, words


class Guard:
  """ASGI middleware: answers what breaks the rules itself, with a status and a sentence."""

  def __init__(self, app, rules: Rules):
    self._app, self._rules = app, rules

  async def __call__(self, scope, receive, send):
    if scope["type"] == "lifespan":
      await self._app(scope, receive, send)
      return
    if scope["type"] != "http":  # there are no web sockets
      await send({"type": "websocket.close", "code": 1008})
      return
    headers = _headers(scope)
    origin = headers.get("origin")
    foreign = origin if origin in self._rules.origins else None
    try:
      self._check(scope, headers)
      if scope["method"] == "OPTIONS" and foreign:
        await _empty(send, 204, _always(foreign))
        return
      if (arrives := self._arrival(scope)) is not None:
        await self._welcome(scope, send, arrives)
        return
      await self._app(scope, self._counted(scope, headers, receive), _with_headers(send, foreign))
    except Refusal as refusal:
      await _refuse(send, refusal, foreign)

  def _check(self, scope, headers) -> None:
    host, rules = headers.get("host", ""), self._rules
    if _name(host) not in rules.hosts:
      raise Refusal(
        421, f"this server is not called '{host[:80]}'; open it by the address that it printed."
      )
    origin = headers.get("origin")
    own = origin is None or origin in (f"http://{host}", f"https://{host}")
    if not own and origin not in rules.origins:
      raise Refusal(
        403,
        f"pages of '{origin[:80]}' may not call this server; start it with --allow-origin if they "
        "should.",
      )
    site, opens = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode") == "navigate"
    if (
      origin is None
      and site in ("cross-site", "same-site")
      and not (opens and scope["method"] in _SAFE)
    ):
      raise Refusal(403, "another site's page asked for this; open the server's own page.")
    preflight = scope["method"] == "OPTIONS" and origin in rules.origins
    if rules.token is None or preflight or scope["path"] in _OPEN or self._arrival(scope):
      return
    if not any(_same(token, rules.token) for token in _tokens(headers)):
      raise Refusal(
        401, "the token is missing or wrong; open the address with ?token= that the server printed."
      )

  def _arrival(self, scope) -> str | None:
    """The token, where the page is opened with a right one in its address."""
    if self._rules.token is None or scope["path"] != "/" or scope["method"] != "GET":
      return None
    (token, *_) = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])
    return token if _same(token, self._rules.token) else None

  async def _welcome(self, scope, send, token: str) -> None:
    """Keeps the token in a cookie, and takes it out of the address and the browser's history."""
    secure = "; Secure" if self._rules.secure else ""
    cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/{secure}"
    fields = {**_HEADERS, "location": "/", "set-cookie": cookie}
    await _empty(send, 303, fields)

  def _counted(self, scope, headers, receive):
    """`receive` that refuses more than a request may hold, whatever its header says."""
    upload = headers.get("content-type", "").startswith("multipart/")
    most = self._rules.most_bytes if upload else _SMALL
    told = headers.get("content-length", "0")
    if not told.isdecimal() or len(told) > 15:
      raise Refusal(400, "the request's Content-Length is no number.")
    if int(told) > most:
      raise Refusal(413, _too_large(most))
    arrived = 0

    async def counted():
      nonlocal arrived
      message = await receive()
      arrived += len(message.get("body", b""))
      if arrived > most:
        raise Refusal(413, _too_large(most))
      return message

    return counted


def _too_large(most: int) -> str:
  return (
    f"the request holds more than {most / 2**20:g} MiB; send less, or start the server with a "
    "larger --most-mib."
  )


def _headers(scope) -> dict[str, str]:
  """Lower-case name -> value; a host or length that is told twice counts as none."""
  told: dict[str, str] = {}
  for name, value in scope["headers"]:
    key = name.decode("latin-1").lower()
    twice = key in told and key in ("host", "content-length", "origin")
    told[key] = "told twice" if twice else value.decode("latin-1")
  return told


def _name(host: str) -> str:
  """The name in a Host header, without the port; IPv6 keeps no brackets."""
  match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|([^:\[\]/@\s]+)(?::\d{1,5})?", host)
  return "" if match is None else (match[1] or match[2]).lower().rstrip(".")


def _tokens(headers) -> list[str]:
  scheme, _, bearer = headers.get("authorization", "").partition(" ")
  told = [bearer.strip()] if scheme.lower() == "bearer" else []
  try:
    cookies = http.cookies.SimpleCookie(headers.get("cookie", ""))
  except http.cookies.CookieError:
    return told
  return [*told, cookies[COOKIE].value] if COOKIE in cookies else told


def _same(token: str, right: str) -> bool:
  """Compared in a time that tells nothing of how much of it is right."""
  return hmac.compare_digest(token.encode(), right.encode())


def _raw(fields: dict[str, str]) -> list[tuple[bytes, bytes]]:
  return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]


def _with_headers(send, foreign: str | None):
  """`send` with the headers that each answer has; an answer's own win."""

  async def sent(message):
    if message["type"] == "http.response.start":
      own = {name.decode("latin-1").lower() for name, _ in message["headers"]}
      more = {name: value for name, value in _always(foreign).items() if name not in own}
      message = {**message, "headers": [*message["headers"], *_raw(more)]}
    await send(message)

  return sent


def _always(foreign: str | None) -> dict[str, str]:
  fields = {**_HEADERS, "vary": "Origin"}
  if foreign is None:
    return {**fields, "cross-origin-resource-policy": "same-origin"}
  return {
    **fields,
    "cross-origin-resource-policy": "cross-origin",
    "access-control-allow-origin": foreign,
    "access-control-allow-methods": "GET, POST, PUT, DELETE",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-expose-headers": "content-disposition",
  }


async def _empty(send, status: int, fields: dict[str, str]) -> None:
  await send({"type": "http.response.start", "status": status, "headers": _raw(fields)})
  await send({"type": "http.response.body", "body": b""})


async def _refuse(send, refusal: Refusal, foreign: str | None) -> None:
  body = json.dumps({"detail": refusal.words}).encode()
  fields = {**_always(foreign), "content-type": "application/json"}
  # what is left of the request is not read
  fields |= {"content-length": str(len(body)), "connection": "close"}
  if refusal.status == 401:
    fields["www-authenticate"] = "Bearer"
  await send({"type": "http.response.start", "status": refusal.status, "headers": _raw(fields)})
  await send({"type": "http.response.body", "body": body})
