"""The page's own scripts in Node, without a browser: keys pressed on a stub of the page."""

import json
import pathlib
import shutil
import subprocess

import pytest

from jaxseg import serve

STATIC = pathlib.Path(serve.__file__).parent / "static"
NODE = shutil.which("node")
# presses keys, with what the mouse does between them, and tells what was marked
PAGE = """
const listeners = {};
globalThis.document = {
  addEventListener: (kind, act) => (listeners[kind] = act), querySelectorAll: () => [], body: {},
};
const { Keys } = await import(process.argv[1]);
const marked = [], shown = [], viewer = { tagName: "DIV" };
const view = {
  cursor: [5, 5, 5], sketch: null, toFile: (ras) => ras, draw() {},
  move(across, up, through = 0) {
    const moved = [across, up, through];
    this.cursor = this.cursor.map((at, axis) => at + moved[axis]);
  },
};
new Keys(view, {
  viewer, help: { open: false }, session: () => ({ interactive: true, rank: 3 }),
  tool: () => "plus", note() {}, mark: (kind, positions) => marked.push([kind, positions]),
});
for (const key of JSON.parse(process.argv[2])) {
  if (key === "mouse") view.sketch = null;
  else listeners.keydown({ key, target: viewer, preventDefault() {} });
  shown.push(view.sketch?.positions.length ?? 0);
}
console.log(JSON.stringify({ marked, shown }));
"""


@pytest.fixture
def pressed(tmp_path):
  if NODE is None:
    pytest.skip("there is no Node on this machine")
  script = tmp_path / "keys.mjs"
  script.write_text((STATIC / "keys.js").read_text())

  def press(*keys):
    command = [NODE, "--input-type=module", "--eval", PAGE, str(script), json.dumps(keys)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

  return press


def test_a_line_by_keys_goes_on_after_a_mark_by_the_mouse(pressed):
  told = pressed("d", "ArrowRight", "mouse", "ArrowRight", "d")
  assert told["shown"] == [1, 2, 0, 3, 0]
  assert told["marked"] == [["stroke", [[5, 5, 5], [6, 5, 5], [7, 5, 5]]]]
