"""Requests that mean harm, or nothing: refused in a sentence, and nothing is written."""

import io

import pytest
import served

pytestmark = pytest.mark.usefixtures("pointer_tables")

HOSTILE = {
  "another host": lambda c: c.get("/api/state", headers={"host": "evil.example"}),
  "another site's page": lambda c: c.post(
    "/api/sessions", json={}, headers={"origin": "https://evil.example"}
  ),
  "a file by its path": lambda c: c.get("/static/..%2f..%2f..%2fpyproject.toml"),
  "a scan by its path": lambda c: c.get("/api/scans/..%2f..%2fetc%2fpasswd/image.nii.gz"),
  "a session by its path": lambda c: c.get("/api/sessions/..%2f..%2fscans"),
  "a folder in a name": lambda c: c.post(
    "/api/scans", files={"files": ("../../evil.nii.gz", served.volume())}
  ),
  "too large a request": lambda c: c.post("/api/sessions", content=b"x" * 2**21),
  "JSON that is none": lambda c: c.post("/api/sessions", content=b"[" * 100_000),
  "a field that is not asked for": lambda c: c.post(
    "/api/sessions", json={"scan": "a", "model": "b", "path": "/etc/passwd"}
  ),
  "another type": lambda c: c.post("/api/sessions", json={"scan": {"$ne": 1}, "model": ["x"]}),
  "numbers that are none": lambda c: c.post("/api/sessions", content=b'{"scan": NaN, "model": ""}'),
  "no form": lambda c: c.post("/api/scans", content=b"x", headers={"content-type": "text/plain"}),
  "a form that ends early": lambda c: c.post(
    "/api/scans", content=b"--x\r\n", headers={"content-type": "multipart/form-data"}
  ),
  "no text": lambda c: c.post("/api/sessions", content=b"\xff\xfe"),
  "a number that is none": lambda c: c.get("/api/scans/scan/image.nii.gz?channel=%C2%B2"),
  "another method": lambda c: c.delete("/api/state"),
  "a label by its path": lambda c: c.get("/datastore/label?label=..%2f..%2fx&tag=final"),
  "a tag that is a path": lambda c: c.put(
    "/datastore/label?image=scan&tag=..%2f..%2fx", files={"label": ("a.nii.gz", b"x")}
  ),
  "a model that is a path": lambda c: c.post("/infer/..%2fx?image=scan", files={"params": b"{}"}),
}


@pytest.fixture(scope="module")
def attacked(run, tmp_path_factory):
  home = tmp_path_factory.mktemp("attacked")
  studio = served.studio(home / "home", [run])
  studio.scans.add([("scan.nii.gz", io.BytesIO(served.volume()))])
  return home, served.client(studio)


@pytest.mark.parametrize("request_of", HOSTILE.values(), ids=HOSTILE)
def test_hostile_requests_are_refused_in_a_sentence_and_write_nothing(request_of, attacked):
  home, client = attacked
  before = sorted(path for path in home.rglob("*"))
  answer = request_of(client)
  assert 400 <= answer.status_code < 500, answer.text
  assert answer.json()["detail"].endswith(".")
  assert "/work" not in answer.text
  assert str(home) not in answer.text
  assert sorted(path for path in home.rglob("*")) == before
