"""What is served: runs of any method take clicks where they are fine-tuned on the scan."""

import json
import shutil

import numpy as np
import pytest
import run_folders
import served

from jaxseg.batch import LabelSpec
from jaxseg.runs.fine_tuned import Tuning
from jaxseg.serve import annotations, models

SHAPE = (9, 12, 10)


def test_a_run_without_prompts_takes_clicks_where_it_is_fine_tuned_and_keeps_its_weights(tmp_path):
  plain = run_folders.write(tmp_path / "plain", rank=3)
  scans = tmp_path / "scans"
  scans.mkdir()
  for name in ("a", "b"):
    (scans / f"{name}.nii.gz").write_bytes(served.volume(SHAPE))
  tuning = Tuning(steps=3, rate=0.1)
  studio = served.studio(tmp_path / "home", [plain], scans=scans, tuning=tuning)
  client = served.client(studio)

  def begin(scan):
    told = client.post("/api/sessions", json={"scan": scan, "model": "plain"}).json()
    content = client.get(f"/api/sessions/{told['session']}/mask").content
    return told, np.frombuffer(content, np.uint8).reshape(SHAPE[::-1])

  told, before = begin("a")
  assert told["interactive"]
  assert told["kinds"] == ["point", "stroke"]
  at = (3, 5, 4)
  name = told["classes"][0] if before[at] != 1 else told["classes"][1]
  prompts = {"prompts": [{"class": name, "point": list(at)}]}
  answer = client.post(f"/api/sessions/{told['session']}/prompts", json=prompts)
  assert answer.status_code == 200, answer.text
  after = np.frombuffer(client.get(f"/api/sessions/{told['session']}/mask").content, np.uint8)
  after = after.reshape(before.shape)
  assert after[at] == told["classes"].index(name) + 1
  # the other scan has the same voxels, and is segmented as if nobody had clicked
  np.testing.assert_array_equal(begin("b")[1], before)
  (file,) = [of for of in (tmp_path / "home" / "sessions").iterdir() if of.stem == told["session"]]
  assert json.loads(file.read_text())["options"] == {"checkpoint": "latest", "domain": "main"}
  # a server that is started otherwise would answer its marks otherwise, or not at all
  place = f"/api/sessions/{told['session']}"
  for other in (None, Tuning(steps=4, rate=0.1)):
    again = served.client(served.studio(tmp_path / "home", [plain], scans=scans, tuning=other))
    refused = again.get(place)
    assert refused.status_code == 400
    assert "start the server with --fine-tune 3 --fine-tune-rate 0.1" in refused.json()["detail"]
  again = served.client(served.studio(tmp_path / "home", [plain], scans=scans, tuning=tuning))
  played = np.frombuffer(again.get(f"{place}/mask").content, np.uint8).reshape(after.shape)
  np.testing.assert_array_equal(played, after)


def test_a_session_of_a_server_with_another_checkpoint_or_domain_is_refused():
  now = {"checkpoint": "latest", "domain": "main"}
  annotations._check_options({}, now, "a session")
  annotations._check_options(dict(now), now, "a session")
  for then, words in (
    (
      {"checkpoint": "best"},
      "a server with --checkpoint best, .* started with --checkpoint latest",
    ),
    (
      {"domain": "mr"},
      "a server with --domain mr, and this one was started with --domain main; start",
    ),
  ):
    with pytest.raises(ValueError, match=f"^a session: its prompts were answered by {words}"):
      annotations._check_options(now | then, now, "a session")


def test_a_session_without_marks_goes_on_where_a_run_takes_them_now(tmp_path):
  flat = run_folders.write(tmp_path / "flat", rank=3)
  scans = tmp_path / "scans"
  scans.mkdir()
  (scans / "a.nii.gz").write_bytes(served.volume(SHAPE))
  told, masks = {"scan": "a", "model": "flat"}, []
  client = served.client(served.studio(tmp_path / "home", [flat], scans=scans))
  place = f"/api/sessions/{client.post('/api/sessions', json=told).json()['session']}"
  tuned = served.studio(tmp_path / "home", [flat], scans=scans, tuning=Tuning(steps=1))
  for of in (client, served.client(tuned)):
    assert of.get(place).status_code == 200
    masks.append(of.get(f"{place}/mask").content)
  assert masks[0] == masks[1]


def test_a_session_tells_that_its_run_has_other_weights(tmp_path):
  flat = run_folders.write(tmp_path / "flat", rank=3)
  scans = tmp_path / "scans"
  scans.mkdir()
  (scans / "a.nii.gz").write_bytes(served.volume(SHAPE))

  def client():
    return served.client(served.studio(tmp_path / "home", [flat], scans=scans))

  begun = client().post("/api/sessions", json={"scan": "a", "model": "flat"}).json()
  place = f"/api/sessions/{begun['session']}"
  assert begun["note"] == client().get(place).json()["note"] == ""
  shutil.rmtree(flat)
  run_folders.write(flat, rank=3, seed=1)
  note = client().get(place).json()["note"]
  assert note.startswith("The run 'flat' has other weights than when this session was last changed")


def test_more_labels_than_a_page_paints_are_refused(tmp_path, monkeypatch):
  flat = run_folders.write(tmp_path / "flat")
  names = tuple(map(str, range(257)))
  labels = LabelSpec(names, tuple(range(257)))
  monkeypatch.setattr(models.Model, "labels", labels)
  with pytest.raises(ValueError, match="tells 256 labels apart, but the page paints 255 at most"):
    models.open_models([flat])
