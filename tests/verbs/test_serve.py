"""serve: who may connect, by its options, and what it refuses before a run is loaded."""

import socket

import pytest

pytest.importorskip("starlette", reason="the server needs starlette, which is not installed")
pytest.importorskip("uvicorn", reason="the server needs uvicorn, which is not installed")

from jaxseg.verbs import serve


def options(*words):
  return serve._parser().parse_args(["run", *map(str, words)])


def refused(capsys, *words):
  """What the verb says when it ends without a server."""
  with pytest.raises(SystemExit) as ended:
    serve.main([*map(str, words)])
  told = capsys.readouterr().err if isinstance(ended.value.code, int) else str(ended.value.code)
  assert told.startswith("serve: ")
  assert "\n" not in told.strip()
  return told


def test_by_default_only_this_machine_connects_and_by_its_own_names():
  rules = serve._rules(options())
  assert options().host == "127.0.0.1"
  assert rules.hosts == {"localhost", "127.0.0.1", "::1"}
  assert rules.token is None
  assert rules.origins == frozenset()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "gpu.hospital.org"])
def test_where_others_can_connect_each_request_needs_a_token_that_is_made(host):
  one, two = (serve._rules(options("--host", host)) for _ in range(2))
  assert len(one.token) >= 43
  assert one.token != two.token


def test_a_name_that_others_use_is_one_of_the_servers():
  rules = serve._rules(options("--host", "0.0.0.0", "--name", "GPU.hospital.org"))
  assert "gpu.hospital.org" in rules.hosts
  assert "evil.example" not in rules.hosts
  assert serve._rules(options("--host", "10.1.2.3")).hosts == {"10.1.2.3"}


def test_a_token_of_a_file_holds_on_this_machine_too(tmp_path):
  (tmp_path / "token").write_text("a-token-of-many-letters\n")
  assert (
    serve._rules(options("--token-file", tmp_path / "token")).token == "a-token-of-many-letters"
  )
  (tmp_path / "token").write_text("short")
  with pytest.raises(ValueError, match="16 characters"):
    serve._rules(options("--token-file", tmp_path / "token"))
  with pytest.raises(FileNotFoundError, match="token"):
    serve._rules(options("--token-file", tmp_path / "none"))


def test_what_cannot_be_is_refused_before_a_run_is_loaded(capsys, tmp_path):
  (tmp_path / "scans").mkdir()
  where = ("run", "--folder", tmp_path / "home")
  assert "one without the other" in refused(capsys, *where, "--key", tmp_path)
  assert "is no folder" in refused(capsys, *where, "--scans", tmp_path / "none")
  inside = ("run", "--scans", tmp_path / "scans", "--folder", tmp_path / "scans" / "labels")
  assert "only read" in refused(capsys, *inside)
  assert "one site" in refused(capsys, *where, "--allow-origin", "*")
  assert "is of --fine-tune" in refused(capsys, *where, "--fine-tune-rate", "0.1")
  assert "65535" in refused(capsys, *where, "--port", "70000")
  assert "--prot" in refused(capsys, *where, "--prot", "80")
  assert str(tmp_path / "none") in refused(capsys, tmp_path / "none", "--folder", tmp_path / "home")


def test_a_missing_package_is_told_with_the_command_that_installs_it(capsys, monkeypatch):
  monkeypatch.setattr(serve, "installed", lambda name: name != "uvicorn")
  told = refused(capsys, "run")
  assert "uvicorn" in told
  assert "pip install" in told


def test_a_port_that_is_taken_is_told():
  with socket.socket() as taken:
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    with pytest.raises(ValueError, match=f"--port {port}.*another port"):
      serve._listening("127.0.0.1", port)
