"""Scans and their labels: whose labels they are, whatever lies under a name by now."""

import io
import json
import os

import nibabel as nib
import numpy as np
import pytest
import served

from jaxseg.interaction import record
from jaxseg.serve.guard import Refusal

pytestmark = pytest.mark.usefixtures("pointer_tables")
SHAPE = (9, 12, 10)


def folder(place, **scans):
  """A folder of scans, each of the voxels of a seed."""
  place.mkdir(exist_ok=True)
  for name, seed in scans.items():
    (place / f"{name}.nii.gz").write_bytes(served.volume(SHAPE, seed=seed))
  return place


def mark(scans, name, value, by=""):
  return scans.write_label(name, np.full(SHAPE[::-1], value, np.int32), by=by)


def values_of(scans, name):
  return set(np.unique(np.asarray(nib.load(scans.label(name, "final")).dataobj)).tolist())


@pytest.fixture
def opened(run, tmp_path):
  """(a folder of scans or None) -> the server's scans, whose labels lie in one folder."""
  return lambda given=None: served.studio(tmp_path / "home", [run], scans=given).scans


def test_scans_of_two_folders_that_share_a_name_have_labels_of_their_own(opened, tmp_path):
  one, other = folder(tmp_path / "a", knee=0), folder(tmp_path / "b", knee=1, hip=2)
  mark(opened(one), "knee", 5)
  scans = opened(other)
  assert set(scans.names()) == {"hip", "knee-2"}
  assert "b/knee.nii.gz: is called 'knee-2' here: the labels in" in scans.notes[0]
  assert scans.notes[0].endswith("of a scan called 'knee', which is another one")
  assert scans.unlabelled() == ["hip", "knee-2"]
  mark(scans, "knee-2", 9)
  # each again, and again
  for place, name, value in ((one, "knee", 5), (other, "knee-2", 9), (one, "knee", 5)):
    scans = opened(place)
    assert scans.unlabelled() == [of for of in scans.names() if of != name]
    assert values_of(scans, name) == {value}


def test_a_folder_that_was_moved_or_touched_keeps_its_labels(opened, tmp_path):
  mark(opened(folder(tmp_path / "a", knee=0)), "knee", 5)
  (tmp_path / "a").rename(tmp_path / "b")
  os.utime(tmp_path / "b" / "knee.nii.gz", (1, 1))
  scans = opened(tmp_path / "b")
  assert scans.names() == ["knee"]
  assert scans.notes == []
  assert scans.unlabelled() == []


def test_a_scan_that_another_took_the_place_of_is_unlabelled(opened, tmp_path):
  given = folder(tmp_path / "a", knee=0)
  mark(opened(given), "knee", 5)
  folder(given, knee=1)
  scans = opened(given)
  assert scans.unlabelled() == ["knee-2"]


def test_a_label_of_what_a_scan_was_is_given_to_nobody_and_put_aside(run, tmp_path):
  given = folder(tmp_path / "a", knee=0, hip=2)
  studio = served.studio(tmp_path / "home", [run], scans=given)
  for name in ("knee", "hip"):
    mark(studio.scans, name, 5)
  folder(given, knee=1)
  client = served.client(studio)
  for answer in (client.get("/datastore/label?label=knee"), client.post("/train/", json={})):
    assert answer.status_code == 400
    assert "'knee' are of the scan as it was before" in answer.json()["detail"]
  mark(studio.scans, "knee", 9)
  assert client.get("/datastore/label?label=knee").status_code == 200
  (kept,) = (tmp_path / "home" / "labels" / "replaced").iterdir()
  assert set(np.unique(np.asarray(nib.load(kept).dataobj))) == {5}


def test_a_scan_takes_no_name_whose_labels_nothing_is_told_of(opened, tmp_path):
  """Labels that are older than labels.json: of what is called so, and of nothing else."""
  both = folder(tmp_path / "a", **{"knee": 0, "knee-2": 1})
  scans = opened(both)
  mark(scans, "knee", 5)
  mark(scans, "knee-2", 9)
  told = json.loads((file := tmp_path / "home" / "labels.json").read_text())
  file.write_text(json.dumps({"knee": told["knee"]}))
  for given in (folder(tmp_path / "b", knee=2), folder(tmp_path / "c", **{"knee": 2, "knee-2": 1})):
    scans = opened(given)
    assert "knee-3" in scans.names()
    assert "knee-3" in scans.unlabelled()
  assert values_of(scans, "knee-2") == {9}


def test_two_servers_on_one_folder_keep_each_others_labels(opened, tmp_path):
  one = opened(folder(tmp_path / "a", knee=0))
  other = opened(folder(tmp_path / "b", hip=1))
  mark(one, "knee", 5)
  mark(other, "hip", 9)
  mark(one, "knee", 9)
  assert opened(folder(tmp_path / "c", knee=2, hip=2)).unlabelled() == ["hip-2", "knee-2"]
  # the first one learns, too, that a label is another scan's by now
  third = opened(folder(tmp_path / "d", foot=3))
  late = opened(folder(tmp_path / "e", foot=4))
  mark(third, "foot", 5)
  with pytest.raises(ValueError, match="'foot' are of the scan as it was before"):
    late.check_label("foot")


def test_uploads_take_no_labels_of_others_and_keep_their_own(opened, tmp_path):
  mark(opened(folder(tmp_path / "a", knee=0)), "knee", 5)
  scans = opened()
  own = scans.add([("knee.nii.gz", io.BytesIO(served.volume(SHAPE, seed=1)))]).name
  assert own == "knee-2"
  mark(scans, own, 9)
  scans = opened(folder(tmp_path / "b", **{"knee-2": 2}))
  assert set(scans.names()) == {"knee-2", "knee-2-2"}
  assert scans.get("knee-2").own
  assert values_of(scans, "knee-2") == {9}
  # what is removed leaves the other's
  scans.remove("knee-2")
  assert values_of(opened(tmp_path / "a"), "knee") == {5}


def test_the_voxels_of_a_scan_are_summed_up_once_for_all_clicks(run, tmp_path, monkeypatch):
  given = folder(tmp_path / "a", knee=0)
  studio, sums = served.studio(tmp_path / "home", [run], scans=given), []
  identity = record.identity
  monkeypatch.setattr(record, "identity", lambda raw: sums.append(1) or identity(raw))
  client = served.client(studio)
  begun = client.post("/api/sessions", json={"scan": "knee", "model": "pointer"}).json()
  for x in (1, 4, 7):
    content = {"prompts": [{"class": "dim", "point": [3, 5, x]}]}
    answer = client.post(f"/api/sessions/{begun['session']}/prompts", json=content)
    assert answer.status_code == 200, answer.text
  client.post(f"/api/sessions/{begun['session']}/save", json={})
  assert len(sums) == 1
  # touched: summed up again, and the same
  os.utime(given / "knee.nii.gz", (1, 1))
  assert client.get(f"/api/sessions/{begun['session']}").status_code == 200
  assert len(sums) == 2
  # changed: its marks are of another scan
  folder(given, knee=1)
  for answer in (
    client.get(f"/api/sessions/{begun['session']}"),
    client.post(f"/api/sessions/{begun['session']}/prompts", json=content),
    client.post(f"/api/sessions/{begun['session']}/save", json={}),
  ):
    assert answer.status_code == 409
    assert "were changed since this session began" in answer.json()["detail"]
  again = client.post("/api/sessions", json={"scan": "knee", "model": "pointer"})
  assert again.status_code == 200
  (given / "knee.nii.gz").unlink()
  gone = client.get(f"/api/sessions/{again.json()['session']}")
  assert gone.status_code == 400
  assert str(tmp_path) not in gone.text


def test_a_session_that_another_server_changed_is_read_again_and_loses_nothing(run, tmp_path):
  given = folder(tmp_path / "a", knee=0)
  one, other = (
    served.client(served.studio(tmp_path / "home", [run], scans=given)) for _ in range(2)
  )
  begun = one.post("/api/sessions", json={"scan": "knee", "model": "pointer"}).json()
  place = f"/api/sessions/{begun['session']}"
  assert other.get(place).json()["changes"] == 0
  marks = [{"prompts": [{"class": "dim", "point": [3, 5, x]}]} for x in (1, 7)]
  assert one.post(f"{place}/prompts", json=marks[0]).status_code == 200
  refused = other.post(f"{place}/prompts", json=marks[1])
  assert refused.status_code == 409
  assert "through another server" in refused.json()["detail"]
  assert other.get(place).json()["changes"] == 1
  told = other.post(f"{place}/prompts", json=marks[1]).json()
  assert [prompt["positions"] for prompt in told["prompts"]] == [[[3, 5, 1]], [[3, 5, 7]]]


def test_the_start_of_a_client_without_a_session_is_of_the_scan_as_it_is(run, tmp_path):
  given = folder(tmp_path / "a", knee=0)
  studio = served.studio(tmp_path / "home", [run], scans=given)
  client = served.client(studio)
  params = {"params": (None, '{"dim": [[1, 2, 3]]}')}
  assert client.post("/infer/pointer?image=knee", files=params).status_code == 200
  (given / "knee.nii.gz").write_bytes(served.volume((7, 8, 9)))
  answer = client.post("/infer/pointer?image=knee&output=image", files=params)
  assert served.array(answer.content).shape == (7, 8, 9)


def test_a_session_of_a_changed_scan_is_refused_where_it_is_asked_for(opened, tmp_path):
  scans = opened(folder(tmp_path / "a", knee=0))
  before = scans.identity("knee")
  scans.check_same("knee", before)
  folder(tmp_path / "a", knee=1)
  with pytest.raises(Refusal, match="'knee' were changed") as refusal:
    scans.check_same("knee", before)
  assert refusal.value.status == 409


def test_a_label_that_another_session_saved_is_kept_whichever_server_it_was(opened, tmp_path):
  given = folder(tmp_path / "a", knee=0)
  assert mark(opened(given), "knee", 5, "one")[1] is None
  # the same session, of a server that was started again, replaces its own
  assert mark(opened(given), "knee", 9, "one")[1] is None
  for value, by in ((5, "two"), (9, "one"), (5, "")):
    path, kept = mark(opened(given), "knee", value, by)
    assert kept.parent.name == "replaced"
    assert {5, 9} - {value} == set(np.unique(np.asarray(nib.load(kept).dataobj)).tolist())
    assert values_of(opened(given), "knee") == {value}
  # clients without sessions cannot be told apart
  assert mark(opened(given), "knee", 9)[1] is None
  # a file of before sessions were told
  told = json.loads((file := tmp_path / "home" / "labels.json").read_text())
  del told["knee"]["by"]
  file.write_text(json.dumps(told))
  assert mark(opened(given), "knee", 5, "one")[1] is not None
  assert path.parent.name == "final"
