"""The page's requests: clicks, undo, freeze, save; a restart; two users; what is refused."""

import io
import zipfile

import dicom_files
import nibabel as nib
import numpy as np
import pointer
import pytest
import run_folders
import served
import tiny

from jaxseg.batch import LabelSpec
from jaxseg.interaction import session as sessions

pytestmark = pytest.mark.usefixtures("pointer_tables")
SHAPE = (9, 12, 10)  # of the scan's file: x, y, z


@pytest.fixture(scope="module")
def flat(tmp_path_factory, pointer_tables):
  return pointer.write(tmp_path_factory.mktemp("runs") / "flat")


@pytest.fixture
def studio(run, tmp_path):
  return served.studio(tmp_path / "home", [run])


@pytest.fixture
def client(studio):
  return served.client(studio)


def upload(client, name="scan.nii.gz", content=None):
  files = {"files": (name, content or served.volume(SHAPE))}
  answer = client.post("/api/scans", files=files)
  assert answer.status_code == 200, answer.text
  return answer.json()["scan"]


def begin(client, scan, model="pointer"):
  answer = client.post("/api/sessions", json={"scan": scan, "model": model})
  assert answer.status_code == 200, answer.text
  return answer.json()


def post(client, told, rest, **content):
  answer = client.post(f"/api/sessions/{told['session']}/{rest}", json=content)
  assert answer.status_code == 200, answer.text
  return answer.json()


def click(client, told, at, name):
  return post(client, told, "prompts", prompts=[{"class": name, "point": at}])


def mask(client, told):
  """(z, y, x) positions among the labels, from the bytes that the page paints."""
  content = client.get(f"/api/sessions/{told['session']}/mask").content
  return np.frombuffer(content, np.uint8).reshape(SHAPE[::-1])


def ball(at, radius=2):
  return (
    sum((axis - i) ** 2 for axis, i in zip(np.indices(SHAPE[::-1]), at, strict=True)) <= radius**2
  )


def refused(answer, status, *words):
  assert answer.status_code == status, answer.text
  sentence = answer.json()["detail"]
  assert sentence.endswith(".")
  assert "\n" not in sentence
  assert "Traceback" not in sentence
  for word in words:
    assert word in sentence


def test_a_scan_is_opened_clicked_undone_and_saved_in_its_own_geometry(client, studio):
  told = begin(client, upload(client))
  assert [of["name"] for of in told["labels"]] == ["dim", "bright"]
  assert not mask(client, told).any()
  told = click(client, told, [3, 5, 4], "bright")
  expected = 2 * ball((3, 5, 4))
  np.testing.assert_array_equal(mask(client, told), expected)
  assert told["labels"][1]["voxels"] == expected.astype(bool).sum()
  assert told["prompts"][0]["positions"] == [[3.0, 5.0, 4.0]]
  assert told["seconds"] > 0
  click(client, told, [7, 2, 2], "dim")
  told = post(client, told, "steps", step="undo")
  np.testing.assert_array_equal(mask(client, told), expected)
  told = post(client, told, "steps", step="redo")
  np.testing.assert_array_equal(mask(client, told) == 1, ball((7, 2, 2)) & (expected == 0))
  told = post(client, told, "steps", step="automatic")
  assert (told["undo"], told["redo"]) == (0, 2)
  post(client, told, "steps", step="redo")
  saved = post(client, told, "save")
  written = nib.load(studio.scans.home / saved["file"])
  np.testing.assert_allclose(written.affine, served.AFFINE, atol=1e-6)
  values = np.asarray(written.dataobj)
  assert values.shape == SHAPE
  np.testing.assert_array_equal(values.transpose(2, 1, 0), 9 * ball((3, 5, 4)))
  sent = served.array(client.get(f"/api/sessions/{told['session']}/label.nii.gz").content)
  np.testing.assert_array_equal(np.asarray(sent.dataobj), values)


def test_what_the_page_shows_lies_where_the_file_has_it(client):
  told = begin(client, upload(client))
  click(client, told, [3, 5, 4], "dim")
  image = served.array(client.get(f"/api/scans/{told['scan']}/image.nii.gz").content)
  shown = served.array(client.get(f"/api/sessions/{told['session']}/mask.nii.gz").content)
  stored = served.array(served.volume(SHAPE))
  for of in (image, shown):
    np.testing.assert_allclose(of.affine, served.AFFINE, atol=1e-6)
  # 16 bits of a range of one
  np.testing.assert_allclose(image.get_fdata(), stored.get_fdata(), atol=2e-5)
  np.testing.assert_array_equal(np.asarray(shown.dataobj).transpose(2, 1, 0), mask(client, told))


def test_a_picture_stands_upright_and_takes_clicks(flat, tmp_path):
  client = served.client(served.studio(tmp_path / "home", [flat]))
  told = begin(client, upload(client, "photo.png", served.picture()), "flat")
  image = served.array(client.get(f"/api/scans/{told['scan']}/image.nii.gz").content)
  assert image.shape == (40, 32, 1)
  assert nib.aff2axcodes(image.affine)[:2] == ("R", "P")
  told = click(client, told, [3, 30], "dim")
  content = client.get(f"/api/sessions/{told['session']}/mask").content
  shown = np.frombuffer(content, np.uint8).reshape(32, 40)
  assert shown[3, 30] == 1
  y, x = np.nonzero(shown == 1)
  assert ((y - 3) ** 2 + (x - 30) ** 2).max() <= 4  # a disk of radius 2


def test_a_zip_of_dicom_slices_is_one_scan_and_its_label_lies_on_it(client, studio, tmp_path):
  pixels = np.full((4, 6, 5), -9, np.int16)
  dicom_files.write_series(
    tmp_path / "study" / "series", pixels, spacing=(0.5, 0.7), step=(0, 0, 2.5)
  )
  content = io.BytesIO()
  with zipfile.ZipFile(content, "w") as archive:
    for path in (tmp_path / "study" / "series").iterdir():
      archive.write(path, f"study/series/{path.stem}")  # without an ending, as scanners write them
    archive.writestr("study/README.txt", "notes")
  scan = upload(client, "study.zip", content.getvalue())
  told = begin(client, scan)
  saved = post(client, told, "save")
  written = nib.load(studio.scans.home / saved["file"])
  assert written.shape == (5, 6, 4)
  np.testing.assert_allclose(written.header.get_zooms(), (0.7, 0.5, 2.5), atol=1e-5)
  # OHIF knows it by the UID of its series
  facts = client.get("/datastore/image/info", params={"image": "1.2.3"}).json()
  assert facts["SeriesInstanceUID"] == "1.2.3"
  # as a series of files, too
  files = [
    ("files", (path.name, path.read_bytes()))
    for path in sorted((tmp_path / "study" / "series").iterdir())
  ]
  answer = client.post("/api/scans", files=files)
  assert answer.status_code == 200, answer.text


def test_what_is_frozen_stays_and_can_be_changed_again_afterwards(client):
  told = click(client, begin(client, upload(client)), [3, 5, 4], "bright")
  told = post(client, told, "steps", step="freeze", name="bright")
  assert told["frozen"] == ["bright"]
  before = mask(client, told) == 2
  told = click(client, told, [3, 5, 5], "dim")
  np.testing.assert_array_equal(mask(client, told) == 2, before)
  told = post(client, told, "steps", step="thaw", name="bright")
  assert told["frozen"] == []
  told = click(client, told, [3, 5, 6], "background")
  assert (mask(client, told) == 2).sum() < before.sum()


def test_the_only_label_of_a_run_with_one_class_is_frozen_by_its_name(tmp_path):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tiny, "LABELS", LabelSpec(("background", "organ"), (0, 7)))
    run = pointer.write(tmp_path / "binary", rank=3, **{"data.patch": (8, 8, 8)})
  client = served.client(served.studio(tmp_path / "home", [run]))
  told = click(client, begin(client, upload(client), "binary"), [3, 5, 4], "organ")
  told = post(client, told, "steps", step="freeze", name=told["labels"][0]["name"])
  assert (told["frozen"], told["objects"]) == (["organ"], ["object 1"])
  before = mask(client, told)
  told = click(client, told, [3, 5, 7], "organ")
  np.testing.assert_array_equal(mask(client, told), before)
  told = post(client, told, "steps", step="thaw", name="organ")
  assert told["frozen"] == []
  # with a second object the list has their names
  told = post(client, told, "steps", step="object", name="left")
  told = click(client, told, [7, 2, 2], "organ")
  told = post(client, told, "steps", step="freeze", name="object 1")
  assert (told["frozen"], told["current"]) == (["object 1"], "object 1")
  # one step back is all that was done, and one step forth as well
  told = post(client, told, "steps", step="undo")
  assert (told["frozen"], told["current"]) == ([], "left")
  told = post(client, told, "steps", step="redo")
  assert (told["frozen"], told["current"]) == (["object 1"], "object 1")
  url = f"/api/sessions/{told['session']}"
  answer = client.post(f"{url}/steps", json={"step": "freeze", "name": "right"})
  refused(answer, 400, "no label 'right'", "object 1, left")
  assert client.get(url).json()["objects"] == ["object 1", "left"]


def test_after_a_restart_a_session_is_the_same_to_the_bit_undone_steps_included(run, tmp_path):
  home = tmp_path / "home"
  before = served.studio(home, [run])
  client = served.client(before)
  told = begin(client, upload(client))
  for at, name in (((3, 5, 4), "bright"), ((7, 2, 2), "dim"), ((3, 5, 5), "background")):
    told = click(client, told, list(at), name)
  told = post(client, told, "steps", step="freeze", name="dim")
  told = post(client, told, "steps", step="undo")
  told = post(client, told, "steps", step="undo")
  old = before.annotations.get(told["session"])
  after = served.studio(home, [run])
  again = served.client(after).get(f"/api/sessions/{told['session']}").json()
  new = after.annotations.get(told["session"])
  assert new is not old
  for name, logits in old.state.logits.items():
    np.testing.assert_array_equal(new.state.logits[name], logits)
  assert {**again, "seconds": 0} == {**told, "seconds": 0}
  assert (again["undo"], again["redo"]) == (2, 2)
  one, other = (sessions.redo(of.state, 2) for of in (old, new))
  np.testing.assert_array_equal(one.logits["object 1"], other.logits["object 1"])


def test_the_session_of_a_scan_is_not_played_on_another_of_its_name(run, tmp_path):
  scans, home = tmp_path / "scans", tmp_path / "home"
  scans.mkdir()
  (scans / "knee.nii.gz").write_bytes(served.volume(SHAPE))
  client = served.client(served.studio(home, [run], scans=scans))
  told = click(client, begin(client, "knee"), [3, 5, 4], "bright")
  (scans / "knee.nii.gz").write_bytes(served.volume(SHAPE, seed=1))
  client = served.client(served.studio(home, [run], scans=scans))
  answer = client.get(f"/api/sessions/{told['session']}")
  refused(answer, 400, "another scan", "'knee'")


def test_the_sessions_of_a_scan_that_is_removed_go_with_it(client, studio):
  scan = upload(client)
  told = click(client, begin(client, scan), [3, 5, 4], "bright")
  studio.forget(scan)
  assert upload(client, content=served.volume(SHAPE[::-1])) == scan
  answer = client.post(f"/api/sessions/{told['session']}/save", json={})
  refused(answer, 404, "no such session")
  assert not list((studio.scans.home / "sessions").iterdir())


def test_two_users_on_one_scan_have_sessions_of_their_own_and_are_told(client):
  scan = upload(client)
  first, second = begin(client, scan), begin(client, scan)
  assert (first["others"], second["others"]) == (0, 1)
  assert first["session"] != second["session"]
  click(client, first, [3, 5, 4], "bright")
  assert mask(client, first).any()
  assert not mask(client, second).any()


def test_a_window_that_has_not_seen_the_last_step_is_told_and_changes_nothing(client):
  told = begin(client, upload(client))
  click(client, told, [3, 5, 4], "bright")
  late = {"prompts": [{"class": "dim", "point": [7, 2, 2]}], "seen": told["changes"]}
  answer = client.post(f"/api/sessions/{told['session']}/prompts", json=late)
  refused(answer, 409, "another window")
  np.testing.assert_array_equal(mask(client, told), 2 * ball((3, 5, 4)))


def test_saving_over_anothers_label_keeps_that_one(client, studio):
  scan = upload(client)
  first, second = begin(client, scan), begin(client, scan)
  click(client, first, [3, 5, 4], "bright")
  assert "note" not in post(client, first, "save")
  assert "note" not in post(client, first, "save")
  note = post(client, second, "save")["note"]
  (kept,) = (studio.scans.home / "labels" / "replaced").iterdir()
  assert kept.name in note
  # it is no label of a scan that is called so
  own = upload(client, kept.name)
  assert studio.scans.tags(own) == []
  assert studio.scans.tags(scan) == ["final"]
  studio.forget(own)
  assert (np.asarray(nib.load(kept).dataobj) == 9).any()


@pytest.mark.parametrize(
  ("prompt", "words"),
  [
    ({"class": "dim", "point": [99, 0, 0]}, ("outside", "99")),
    ({"class": "dim", "point": [-4, 0, 0]}, ("outside",)),
    ({"class": "dim", "point": [1, 2]}, ("3 numbers",)),
    ({"class": "dmi", "point": [1, 2, 3]}, ("dim",)),
    ({"class": "dim", "box": [[1, 2, 3], [2, 3, 4]]}, ("box", "point")),
    ({"class": "dim"}, ("class",)),
    ("click", ("click",)),
  ],
)
def test_prompts_that_mean_nothing_are_refused_and_change_nothing(prompt, words, client):
  told = begin(client, upload(client))
  answer = client.post(f"/api/sessions/{told['session']}/prompts", json={"prompts": [prompt]})
  refused(answer, 400, *words)
  assert client.get(f"/api/sessions/{told['session']}").json()["changes"] == 0


def test_contradicting_prompts_are_refused(client):
  told = click(client, begin(client, upload(client)), [3, 5, 4], "bright")
  prompt = {"class": "background", "point": [3, 5, 4]}
  answer = client.post(f"/api/sessions/{told['session']}/prompts", json={"prompts": [prompt]})
  refused(answer, 400, "class 0", "class 2")


def test_an_upload_that_is_no_image_is_refused_in_a_sentence_and_leaves_nothing(client, studio):
  for name, content in (("x.nii.gz", b"no image"), ("cv.pdf", b"%PDF"), ("x.png", b"\x89PNG")):
    answer = client.post("/api/scans", files={"files": (name, content)})
    refused(answer, 400, "no")
    assert str(studio.scans.home) not in answer.text
  assert studio.scans.names() == []
  assert not list((studio.scans.home / "scans").iterdir())
  refused(client.post("/api/scans", files={"files": ("p.png", served.picture())}), 400, "3")


def test_a_run_without_prompts_segments_by_itself_and_says_so(run, tmp_path):
  plain = run_folders.write(tmp_path / "plain", rank=3)
  client = served.client(served.studio(tmp_path / "home", [run, plain]))
  told = begin(client, upload(client), "plain")
  assert told["interactive"] is False
  assert mask(client, told).any()
  content = {"prompts": [{"class": "dim", "point": [1, 2, 3]}]}
  answer = client.post(f"/api/sessions/{told['session']}/prompts", json=content)
  refused(answer, 400, "takes no prompts")
  saved = post(client, told, "save")
  assert (tmp_path / "home" / saved["file"]).is_file()
  state = client.get("/api/state").json()
  assert [of["interactive"] for of in state["models"]] == [True, False]
  assert state["model"] == "pointer"


def test_runs_on_other_channels_are_refused_together(run, flat, tmp_path):
  with pytest.raises(ValueError, match="number of axes"):
    served.studio(tmp_path / "home", [run, flat])


def test_an_explanation_lies_on_the_scan(client):
  told = begin(client, upload(client, content=served.volume(SHAPE, dark=False)))
  made = post(client, told, "explain", method="entropy")
  shown = served.array(client.get(f"/api/sessions/{told['session']}/map.nii.gz").content)
  assert shown.shape == SHAPE
  np.testing.assert_allclose(shown.affine, served.AFFINE, atol=1e-6)
  assert made["most"] == pytest.approx(shown.get_fdata().max())
  answer = client.post(f"/api/sessions/{told['session']}/explain", json={"method": "x"})
  refused(answer, 400, "entropy")
  somewhere = {"method": "entropy", "at": [0, 0, 0]}
  answer = client.post(f"/api/sessions/{told['session']}/explain", json=somewhere)
  refused(answer, 400, "'entropy' is of the whole scan")
  absent = {"method": "guided", "label": "dim"}
  answer = client.post(f"/api/sessions/{told['session']}/explain", json=absent)
  refused(answer, 400, "no voxel of 'dim'", "bright")


def test_scans_of_a_folder_are_offered_but_not_those_that_links_lead_out_to(run, tmp_path):
  given, secret = tmp_path / "given", tmp_path / "secret.nii.gz"
  given.mkdir()
  (given / "a.nii.gz").write_bytes(served.volume(SHAPE))
  secret.write_bytes(served.volume(SHAPE))
  (given / "b.nii.gz").symlink_to(secret)
  studio = served.studio(tmp_path / "home", [run], scans=given)
  assert studio.scans.names() == ["a"]
  assert "link" in studio.scans.notes[0]
  client = served.client(studio)
  post(client, begin(client, "a"), "save")
  assert sorted(path.name for path in given.iterdir()) == ["a.nii.gz", "b.nii.gz"]
