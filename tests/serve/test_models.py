"""What is served: runs of any method take clicks where they are fine-tuned on the scan."""

import numpy as np
import run_folders
import served

from jaxseg.runs.fine_tuned import Tuning

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
