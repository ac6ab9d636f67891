"""MONAI Label's REST API, called as monailabel.client and Slicer's plug-in call it."""

import email
import http.client
import io
import json
import time
import urllib.parse

import ml_collections
import nibabel as nib
import numpy as np
import pointer
import pytest
import run_folders
import served
from pointer import pointer_tables  # noqa: F401

from jaxseg.compose import complete
from jaxseg.config.file import load_config
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.experiment import experiment
from jaxseg.serve import models, monai_infer, training

pytestmark = pytest.mark.usefixtures("pointer_tables")
SHAPE = (9, 12, 10)
# the boundary and the line ends of the client's own encoder
LIMIT = "----------lImIt_of_THE_fIle_eW_$"
TOKEN = "a-token-of-many-letters"


@pytest.fixture(scope="module")
def run(tmp_path_factory, pointer_tables):  # noqa: F811
  folder = tmp_path_factory.mktemp("runs") / "organs"
  return pointer.write(folder, rank=3, **{"data.patch": (8, 8, 8)})


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
  home = tmp_path_factory.mktemp("served")
  (home / "scans").mkdir()
  for i, dark in enumerate((True, False)):
    content = served.volume(SHAPE, seed=i, dark=dark)
    (home / "scans" / f"case {i}.nii.gz").write_bytes(content)
  studio = served.studio(home / "home", [run], scans=home / "scans")
  running = served.Running(studio)
  yield running.address, studio
  running.close()


def call(server, method, selector, body=None, headers=None):
  """http.client, as the client uses it: (status, content type, content)."""
  place = urllib.parse.urlparse(server[0])
  connection = http.client.HTTPConnection(place.hostname, place.port)
  if isinstance(body, dict):
    body = json.dumps(body)
    headers = {"content-type": "application/json", "content-length": str(len(body))}
  connection.request(method, selector, body=body, headers=headers or {})
  answer = connection.getresponse()
  return answer.status, answer.getheader("content-type"), answer.read()


def told(server, method, selector, body=None):
  status, _, content = call(server, method, selector, body)
  assert status == 200, content
  return json.loads(content)


def multipart(server, method, selector, fields, files):
  """Fields and files (key -> (path, content)), encoded as the client does it, whole paths too."""
  lines = []
  for key, value in fields.items():
    lines += [f"--{LIMIT}", f'Content-Disposition: form-data; name="{key}"', "", value]
  for key, (path, content) in files.items():
    lines.append(f"--{LIMIT}")
    lines.append(f'Content-Disposition: form-data; name="{key}"; filename="{path}"')
    lines += ["Content-Type: application/octet-stream", "", content]
  lines += [f"--{LIMIT}--", ""]
  body = b"".join((of if isinstance(of, bytes) else of.encode()) + b"\r\n" for of in lines)
  kind = f"multipart/form-data; boundary={LIMIT}"
  return call(
    server, method, selector, body, {"content-type": kind, "content-length": str(len(body))}
  )


def infer(server, model, params, image="case 0", rest="", files=None):
  """(params, file name, its bytes) of an answer."""
  selector = f"/infer/{model}?image={urllib.parse.quote_plus(image)}{rest}"
  fields = {"params": json.dumps({**params, "client_id": "user-xyz"})}
  status, kind, content = multipart(server, "POST", selector, fields, files or {})
  assert status == 200, content
  parts = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
  params, image = parts.get_payload()
  assert params.get_param("name", header="content-disposition") == "params"
  values = json.loads(params.get_payload(decode=True))
  return values, image.get_filename(), image.get_payload(decode=True)


def values(content):
  return np.asarray(served.array(content).dataobj)


def test_info_tells_models_labels_strategies_and_the_datastore(server):
  info = told(server, "GET", "/info/")
  assert info["models"]["organs"]["type"] == "deepedit"
  assert info["models"]["organs_seg"]["type"] == "segmentation"
  assert info["models"]["organs"]["labels"] == {"background": 0, "dim": 5, "bright": 9}
  assert info["models"]["organs"]["dimension"] == 3
  assert info["labels"] == ["background", "dim", "bright"]
  assert {"first", "random", "uncertainty"} == set(info["strategies"])
  assert info["trainers"].keys() == {"organs"}
  assert info["datastore"]["total"] >= 2


def test_points_of_labels_are_answered_at_their_places_in_the_scans_geometry(server):
  # (x, y, z), as Slicer and OHIF send them for a model of the kind "deepedit"
  points = {"bright": [[4, 5, 3]], "dim": [], "background": [], "label": "bright"}
  params, name, content = infer(server, "organs", points)
  assert name == "label.nii.gz"
  assert params["label_names"] == {"background": 0, "dim": 5, "bright": 9}
  label = values(content)
  assert label.shape == SHAPE
  np.testing.assert_allclose(served.array(content).affine, served.AFFINE, atol=1e-6)
  places = np.indices(SHAPE)
  near = sum((axis - at) ** 2 for axis, at in zip(places, (4, 5, 3), strict=True)) <= 4
  np.testing.assert_array_equal(label, 9 * near)
  again = infer(server, "organs", {"label": "bright", "foreground": [[4, 5, 3]]})[2]
  np.testing.assert_array_equal(values(again), label)


def test_an_automatic_segmentation_in_the_form_that_ohif_asks_for(server):
  asked = {"result_extension": ".nrrd", "result_dtype": "uint16", "result_compress": False}
  _, name, content = infer(
    server, "organs_seg", {**asked, "restore_label_idx": False}, "case 1", "&output=all"
  )
  assert name == "label.nrrd"
  head, _, voxels = content.partition(b"\n\n")
  assert b"encoding: raw" in head
  assert b"unsigned short" in head or b"uint16" in head
  label = np.frombuffer(voxels, "<u2").reshape(SHAPE[::-1])
  assert set(np.unique(label)) <= {0, 9}
  assert (label == 9).any()


def test_answers_as_json_or_as_a_file_alone(server):
  selector = "/infer/organs_seg?image=case+1&output="
  status, kind, content = multipart(server, "POST", f"{selector}json", {"params": "{}"}, {})
  assert (status, kind) == (200, "application/json")
  assert "label_names" in json.loads(content)
  status, _, content = multipart(server, "POST", f"{selector}image", {"params": "{}"}, {})
  assert status == 200
  assert values(content).shape == SHAPE


def test_a_scan_is_uploaded_labelled_and_removed(server):
  path = "/home/user/Slicer/tmp/brain scan.nii.gz"
  status, _, content = multipart(
    server, "PUT", "/datastore/?image=brain", {"params": "{}"}, {"file": (path, served.volume())}
  )
  assert (status, json.loads(content)) == (200, {"image": "brain"})
  assert "brain" in told(server, "GET", "/datastore/?output=all")["objects"]
  _, _, image = call(server, "GET", "/datastore/image?image=brain")
  label = np.zeros(SHAPE, np.uint8)
  label[2, 3, 4] = 9
  sent = nib.Nifti1Image(label, served.AFFINE).to_bytes()
  status, _, content = multipart(
    server, "PUT", "/datastore/label?image=brain", {"params": "{}"}, {"label": ("/x/l.nii", sent)}
  )
  assert json.loads(content) == {"image": "brain", "label": "brain"}
  objects = told(server, "GET", "/datastore/?output=all")["objects"]
  assert objects["brain"]["labels"].keys() == {"final"}
  _, _, back = call(server, "GET", "/datastore/label?label=brain&tag=final")
  np.testing.assert_array_equal(values(back), label)
  assert served.array(image).shape == SHAPE
  # OHIF sends the voxels alone
  raw = np.full(SHAPE[::-1], 5, "<u2").tobytes()
  selector = "/datastore/label?image=brain&tag=ohif"
  assert multipart(server, "PUT", selector, {}, {"label": ("label.bin", raw)})[0] == 200
  assert multipart(server, "PUT", selector, {}, {"label": ("label.bin", raw[2:])})[0] == 400
  assert told(server, "DELETE", "/datastore/?id=brain&type=image") == {}
  assert "brain" not in told(server, "GET", "/datastore/?output=all")["objects"]
  assert not (server[1].scans.home / "labels" / "final" / "brain.nii.gz").exists()


def test_an_upload_is_found_by_the_name_that_the_client_gave_and_takes_no_others_place(server):
  selector, fields = "/datastore/?image=my+knee.nii.gz", {"params": "{}"}
  files = {"file": ("/tmp/x.nii.gz", served.volume())}
  status, _, content = multipart(server, "PUT", selector, fields, files)
  assert (status, json.loads(content)) == (200, {"image": "my_knee"})
  label = values(infer(server, "organs", {"dim": [[1, 2, 3]]}, "my knee.nii.gz")[2])
  assert label[1, 2, 3] == 5
  status, _, content = multipart(server, "PUT", selector, fields, files)
  assert (status, "already" in json.loads(content)["detail"]) == (409, True)
  assert told(server, "DELETE", "/datastore/?id=my_knee&type=image") == {}


def test_a_name_that_differs_behind_its_last_dot_is_another_scans(server):
  sent = {"file": ("/tmp/x.nii.gz", served.volume())}
  for name in ("patient.001", "patient.002"):
    status, _, content = multipart(server, "PUT", f"/datastore/?image={name}", {}, sent)
    assert (status, json.loads(content)) == (200, {"image": name})
  status, _, content = call(server, "GET", "/datastore/image/info?image=patient.003")
  assert (status, "no scan 'patient.003'" in json.loads(content)["detail"]) == (404, True)
  facts = told(server, "GET", "/datastore/image/info?image=patient.001.nii.gz")
  assert facts["name"] == "x.nii.gz"
  for name in ("patient.001", "patient.002"):
    assert told(server, "DELETE", f"/datastore/?id={name}&type=image") == {}


def test_a_label_of_another_grid_is_refused(server):
  sent = nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4)).to_bytes()
  selector = "/datastore/label?image=case+0"
  status, _, content = multipart(server, "PUT", selector, {}, {"label": ("l.nii", sent)})
  assert status == 400
  assert "same grid" in json.loads(content)["detail"]


def test_the_next_sample_is_the_least_sure_of_those_without_a_label(server):
  sample = told(server, "POST", "/activelearning/uncertainty", {"client_id": "x"})
  # of the dark scan the network is sure
  assert sample["id"] == "case 1"
  assert 0 < sample["uncertainty"] <= 1
  assert sample["name"] == "case 1.nii.gz"
  first = told(server, "POST", "/activelearning/first", {})
  assert first["id"] == "case 0"
  # what is known of a scan is of its files as they were
  studio, stamp = server[1], server[1].scans.stamp
  sharp = studio.uncertainties["case 0"][1]
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(studio.scans, "stamp", lambda name: f"{stamp(name)} changed")
    patch.setattr(models, "uncertainty", lambda model, raw, name: 0.5 + sharp)
    sample = told(server, "POST", "/activelearning/uncertainty", {})
  assert sample["uncertainty"] == 0.5 + sharp
  studio.uncertainties.clear()
  # one that cannot be read is no answer, and keeps none of the others from being one
  image = studio.scans.image

  def damaged(name):
    if name == "case 1":
      raise ValueError("case 1: is damaged.")
    return image(name)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(studio.scans, "image", damaged)
    assert told(server, "POST", "/activelearning/uncertainty", {})["id"] != "case 1"
  studio.uncertainties.clear()
  status, _, content = call(server, "POST", "/activelearning/best", {})
  assert (status, "uncertainty" in json.loads(content)["detail"]) == (404, True)


def test_a_session_brings_its_own_scan_and_takes_it_away(server):
  # as monailabel.client does here
  requests = pytest.importorskip("requests", reason="the client of sessions is requests'")
  files = [("files", ("mine.nii.gz", served.volume()))]
  answer = requests.put(f"{server[0]}/session/", files=files, data={"client_id": "x"}, timeout=60)
  name = answer.json()["session_id"]
  assert told(server, "GET", f"/session/{name}")["image"] == "mine"
  points = {"dim": [[1, 2, 3]]}
  label = values(infer(server, "organs", points, "", f"&session_id={name}")[2])
  assert label[1, 2, 3] == 5
  assert told(server, "DELETE", f"/session/{name}")["name"] == name
  assert call(server, "GET", f"/session/{name}")[0] == 404
  assert "mine" not in server[1].scans.names()


def test_an_uploaded_file_is_segmented_and_not_kept(server):
  files = {"file": ("/tmp/once.nii.gz", served.volume())}
  assert values(infer(server, "organs", {"dim": [[1, 2, 3]]}, "", files=files)[2])[1, 2, 3] == 5
  assert "once" not in server[1].scans.names()


@pytest.mark.parametrize(
  ("model", "params", "words"),
  [
    ("organ", {}, "did you mean 'organs'"),
    ("organs", {"bright": [[90, 0, 0]]}, "outside"),
    ("organs", {"bright": [["a", 0, 0]]}, "x first"),
    ("organs", {"foreground": [[1, 2, 3]], "label": "liver"}, "dim, bright"),
    ("organs", {"bright": [[True, 0, 0]]}, "x first"),
    ("organs", {"bright": 5}, "a list of points"),
    ("organs", {"result_extension": "/../../x.nii"}, "result_extension"),
    ("organs", {"result_dtype": ["uint8"]}, "choices: uint8"),
    ("organs", {"dim": [[1, 2, 3]], "bright": [[1, 2, 3]]}, "class"),
  ],
)
def test_what_means_nothing_is_refused_in_a_sentence(model, params, words, server):
  selector = f"/infer/{model}?image=case+0"
  status, _, content = multipart(server, "POST", selector, {"params": json.dumps(params)}, {})
  assert 400 <= status < 500
  assert words in json.loads(content)["detail"]


def test_values_that_the_type_cannot_hold_are_refused():
  geometry = plain_geometry((2, 2, 2))
  stored = np.full((2, 2, 2), 300, np.int32)
  with pytest.raises(ValueError, match=r"result_dtype 'uint8': holds 0 to 255, .* 300;"):
    monai_infer._encoded(stored, geometry, ".nii.gz", {"result_dtype": "uint8"})
  with pytest.raises(ValueError, match=r"result_dtype 'uint16': holds 0 to 65535, .* value -1"):
    monai_infer._encoded(-stored // 300, geometry, ".nii.gz", {"result_dtype": "uint16"})
  assert monai_infer._encoded(stored, geometry, ".nii.gz", {"result_dtype": "uint16"})


@pytest.fixture
def trained(tmp_path):
  """A server of a run that learns without prompts."""
  plain = run_folders.write(tmp_path / "plain", rank=3)
  studio = served.studio(tmp_path / "home", [plain])
  for name in ("a", "b"):
    studio.scans.add([(f"{name}.nii.gz", io.BytesIO(served.volume((18, 20, 17))))])
  return studio, served.client(studio)


def test_training_needs_labels_and_runs_as_a_job_that_can_be_stopped(trained, monkeypatch):
  studio, client = trained
  answer = client.post("/train/plain", json={"steps": 5})
  assert answer.status_code == 400
  assert "two or more" in answer.json()["detail"]
  assert client.get("/train/?check_if_running=true").status_code == 404
  for name in ("a", "b"):
    stored = np.zeros((17, 20, 18), np.int32)
    stored[2:9, 3:16, 2:7] = 9
    studio.scans.write_label(name, stored)
  # the run is one of weights before a first step
  monkeypatch.setattr("jaxseg.runs.folder.steps_done", lambda folder: 1)
  # a job that waits
  monkeypatch.setattr("jaxseg.serve.training.COMMAND", ("-c", "import time; time.sleep(60)"))
  job = client.post("/train/plain", json={"steps": 5, "max_epochs": 3}).json()
  assert job["status"] == "RUNNING"
  assert client.get("/train/?check_if_running=true").json()["id"] == job["id"]
  assert client.post("/train/plain", json={}).status_code == 429
  home = (studio.scans.home / job["run"]).parent
  assert len(list((home / "set" / "labelsTr").iterdir())) == 2
  # what the job is given can be trained: from the run's weights, on what was labelled
  config = complete(load_config(str(home / "config.py")))
  assert config["steps"] == 5
  built = experiment(ml_collections.ConfigDict(config))
  assert sorted(built.main.dataset.names) == ["a", "b"]
  assert built.starts.keys() == {"network"}
  assert client.delete("/train/").json()["status"] == "STOPPED"
  for _ in range(200):
    if "end_ts" in client.get("/train/").json():
      break
    time.sleep(0.05)
  assert client.get("/train/").json()["status"] == "STOPPED"


def test_a_label_of_another_scan_of_that_name_is_not_trained_on(trained):
  studio, client = trained
  for name in ("a", "b"):
    studio.scans.write_label(name, np.zeros((17, 20, 18), np.int32))
  other = nib.Nifti1Image(np.zeros((18, 20, 16), np.uint8), served.AFFINE)
  nib.save(other, studio.scans.label("b", "final"))
  answer = client.post("/train/plain", json={"steps": 5})
  assert answer.status_code == 400
  assert "the same grid" in answer.json()["detail"]


def test_all_networks_of_a_run_go_on_from_their_weights(tmp_path, monkeypatch):
  network = {"name": "pnet", "features": 4, "depth": 1, "dilations": (1,)}
  folder = run_folders.write(
    tmp_path / "two",
    network=network,
    networks={"proposal": network},
    method={"name": "deepigeos"},
  )
  studio = served.studio(tmp_path / "home", [folder])
  (tmp_path / "made" / "set" / "labelsTr").mkdir(parents=True)
  model = studio.models["two"]
  told = training.run_folder.read_config(folder) | {"steps": 100}
  told["method"] |= {"proposal_steps": 50}
  monkeypatch.setattr(training.run_folder, "read_config", lambda run: told)
  config = training._config(model, tmp_path / "made", {"steps": 5})
  # a job is shorter: the first network has its share of it, and not all
  assert config["method"]["proposal_steps"] == 2
  assert config["initialise"] == {
    "network": {"run": str(folder)},
    "proposal": {"run": str(folder), "learner": "proposal"},
  }


def test_a_network_that_follows_another_starts_as_that_does(monkeypatch, tmp_path):
  there = dict.fromkeys(("network", "network_average", "teacher"))
  monkeypatch.setattr("jaxseg.runs.checkpoint.load_learners", lambda run: there)
  starts = training._starts(tmp_path, training.FOLLOWERS["mean_teacher"])
  assert starts == {"network": {"run": str(tmp_path)}}


def test_clients_log_in_with_the_token_as_password(run, tmp_path):
  client = served.client(served.studio(tmp_path / "home", [run]), token=TOKEN)
  assert client.get("/auth/").json()["enabled"] is True
  assert client.get("/info/").status_code == 401
  wrong = client.post("/auth/token", data={"username": "a", "password": "b"})
  assert wrong.status_code == 401
  answer = client.post("/auth/token", data={"username": "a", "password": TOKEN}).json()
  given = {"authorization": f"Bearer {answer['access_token']}"}
  assert client.get("/info/", headers=given).status_code == 200
  assert client.get("/", params={"token": TOKEN}).status_code == 303
  assert client.get("/").status_code == 200  # by the cookie
