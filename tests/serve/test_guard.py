"""Which requests reach the server; what does not is refused with a status and one sentence."""

import asyncio
import json

import pytest

from jaxseg.serve import guard

HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
TOKEN = "a-token-of-many-letters"


async def inner(scope, receive, send):
  """Reads the whole request, as what parses it does, and answers."""
  while (await receive()).get("more_body"):
    pass
  await send({"type": "http.response.start", "status": 200, "headers": []})
  await send({"type": "http.response.body", "body": b"{}"})


def ask(method="GET", path="/info/", *, query="", body=b"", token=None, origins=(), **headers):
  """Status, headers and JSON of an answer."""
  rules = guard.Rules(HOSTS, token, frozenset(origins), 2**22)
  fields = {"host": "127.0.0.1:8000", **{name.replace("_", "-"): v for name, v in headers.items()}}
  scope = {
    "type": "http",
    "method": method,
    "path": path,
    "query_string": query.encode(),
    "headers": [(n.encode(), v.encode("latin-1")) for n, v in fields.items() if v is not None],
  }
  parts = [body[i : i + 2**20] for i in range(0, len(body), 2**20)] or [b""]
  messages = [
    {"type": "http.request", "body": part, "more_body": i + 1 < len(parts)}
    for i, part in enumerate(parts)
  ]
  sent = []

  async def receive():
    return messages.pop(0)

  async def send(message):
    sent.append(message)

  asyncio.run(guard.Guard(inner, rules)(scope, receive, send))
  start, *rest = sent
  told = {name.decode(): value.decode() for name, value in start["headers"]}
  content = b"".join(of["body"] for of in rest)
  return start["status"], told, json.loads(content) if content else None


def refused(status, *words, **request):
  code, _, told = ask(**request)
  assert code == status
  assert told["detail"].endswith(".")
  assert "\n" not in told["detail"]
  for word in words:
    assert word in told["detail"]


def test_a_plain_request_of_this_machine_is_answered_with_headers_that_confine_the_page():
  code, told, _ = ask()
  assert code == 200
  assert told["x-content-type-options"] == "nosniff"
  assert told["x-frame-options"] == "DENY"
  assert "default-src 'none'" in told["content-security-policy"]
  assert "unsafe-inline" not in told["content-security-policy"]
  assert "access-control-allow-origin" not in told


@pytest.mark.parametrize(
  "host",
  ["evil.example", "127.0.0.1.evil.example:8000", "localhost@evil.example", "", None, "10.0.0.9"],
)
def test_a_host_that_is_not_this_server_is_refused_against_rebinding(host):
  refused(421, "is not called", host=host)


@pytest.mark.parametrize("host", ["localhost:8000", "LOCALHOST", "[::1]:8000", "127.0.0.1"])
def test_the_servers_own_names_are_answered(host):
  assert ask(host=host)[0] == 200


def test_pages_of_other_origins_may_not_call():
  refused(403, "evil.example", method="POST", origin="https://evil.example")
  refused(403, "'null'", method="POST", origin="null")
  refused(403, "another site", sec_fetch_site="cross-site", sec_fetch_mode="no-cors")
  assert ask(method="POST", origin="http://127.0.0.1:8000")[0] == 200
  assert ask(path="/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200


def test_an_origin_that_is_allowed_is_named_and_no_other_is():
  ohif = "https://ohif.hospital.org"
  code, told, _ = ask(method="OPTIONS", origin=ohif, origins=[ohif])
  assert code == 204
  assert told["access-control-allow-origin"] == ohif
  assert "Origin" in told["vary"]
  code, told, _ = ask(origin=ohif, origins=[ohif])
  assert (code, told["access-control-allow-origin"]) == (200, ohif)
  refused(403, "may not", method="OPTIONS", origin="https://ohif.hospital.org.evil", origins=[ohif])


@pytest.mark.parametrize("origin", ["*", "https://*", "https://a.b/path", "file://x", "null"])
def test_no_wildcard_can_be_allowed(origin):
  with pytest.raises(ValueError, match="one site"):
    guard.check_origins([origin])


def test_without_the_token_nothing_is_answered_but_how_to_log_in():
  for more in ({}, {"authorization": "Bearer wrong"}, {"cookie": "jaxseg_token=wrong"}):
    refused(401, "token", token=TOKEN, **more)
  refused(401, "token", token=TOKEN, path="/api/state", query=f"token={TOKEN}")
  for more in ({"authorization": f"Bearer {TOKEN}"}, {"cookie": f"x=1; jaxseg_token={TOKEN}"}):
    assert ask(token=TOKEN, **more)[0] == 200
  assert ask(token=TOKEN, path="/auth/")[0] == 200


def test_the_address_with_the_token_leaves_it_in_a_cookie_that_no_script_reads():
  code, told, _ = ask(token=TOKEN, path="/", query=f"token={TOKEN}")
  assert (code, told["location"]) == (303, "/")
  for part in ("HttpOnly", "SameSite=Strict", f"jaxseg_token={TOKEN}"):
    assert part in told["set-cookie"]
  refused(401, "token", token=TOKEN, path="/", query="token=wrong")


@pytest.mark.parametrize("token", ["short", "with space in it and more", "x" * 15])
def test_tokens_that_can_be_guessed_are_refused(token):
  with pytest.raises(ValueError, match="16 characters"):
    guard.check_token(token)


def test_too_large_a_request_is_refused_by_its_header_and_by_its_bytes():
  upload = {"method": "POST", "content_type": "multipart/form-data; boundary=x"}
  refused(413, "4 MiB", content_length=str(2**23), **upload)
  refused(413, "1 MiB", method="POST", content_length=str(2**21))
  # a header that lies
  refused(413, "1 MiB", method="POST", content_length="10", body=bytes(2**21))
  refused(400, "no number", method="POST", content_length="-1")
  refused(400, "no number", method="POST", content_length="9" * 30)
  assert ask(content_length=str(2**21), body=bytes(2**21), **upload)[0] == 200
