"""The page in a browser: open a scan, click, undo, save, open it again; by keys alone.

Runs where there are Chromium and playwright (apt install chromium; pip install playwright).
"""

import functools
import os
import pathlib
import shutil

import nibabel as nib
import numpy as np
import pointer
import pytest
import served
from pointer import pointer_tables  # noqa: F401

pytestmark = pytest.mark.usefixtures("pointer_tables")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
# WebGL without a graphics card
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
FLAGS += ["--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
SHAPE = (24, 30, 18)  # x, y, z
# of the voxel in the middle of the view: where it is on the screen, and what is there
MIDDLE = """() => {
  const ras = view.cursor;
  const [{at: [x, y]}] = view.places(ras);
  const box = view.canvas.getBoundingClientRect();
  return {x: box.left + x, y: box.top + y, file: view.toFile(ras)};
}"""
MASK = "() => view.nv.volumes[1].getValue(...view.cursor)"


@pytest.fixture(scope="module")
def browser():
  playwright = pytest.importorskip("playwright.sync_api", reason="the browser needs playwright")
  if CHROMIUM is None:
    pytest.skip("there is no Chromium on this machine (CHROMIUM names one)")
  with playwright.sync_playwright() as started:
    opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, pointer_tables):  # noqa: F811
  home = tmp_path_factory.mktemp("served")
  run = pointer.write(home / "pointer", rank=3, **{"data.patch": (8, 8, 8)})
  studio = served.studio(home / "home", [run])
  running = served.Running(studio)
  yield running.address, studio
  running.close()


class Page:
  """A page of a browser, and what it complained about or asked of other places."""

  def __init__(self, browser, address: str):
    self.tab = browser.new_page(viewport={"width": 1280, "height": 800})
    self.tab.set_default_timeout(60_000)
    self.complaints: list[str] = []
    self.tab.on("console", self._listen)
    self.tab.on("pageerror", lambda of: self.complaints.append(str(of)))
    self.tab.on("request", lambda of: self._check(of.url, address))
    self.tab.goto(address)
    self.tab.wait_for_selector("body[data-ready=yes]")

  def _listen(self, message) -> None:
    # refusals are told on the page, and by the browser here
    if message.type == "error" and "status of 4" not in message.text:
      self.complaints.append(message.text)

  def _check(self, url: str, address: str) -> None:
    if not url.startswith((address, "data:", "blob:")):
      self.complaints.append(f"asked {url}")

  def open(self, name: str, content: bytes) -> None:
    self.tab.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})
    self.lists(name.partition(".")[0])
    self.tab.wait_for_selector("#empty", state="hidden")
    self.changed(0)

  def lists(self, scan: str) -> None:
    """Waits until the list of scans names the one that is shown, "" for none."""
    shown = "name => document.querySelector('#scans').value === name"
    self.tab.wait_for_function(shown, arg=scan)

  def changed(self, to: int) -> None:
    """Waits until the page shows the session after so many changes."""
    self.tab.wait_for_selector(f"body[data-changes='{to}']")
    self.tab.wait_for_selector("#busy", state="hidden")
    self.tab.wait_for_timeout(200)

  def colour(self, place) -> tuple[int, ...]:
    """A pixel of what is on the screen, beside the mark itself."""
    import imageio.v3 as imageio

    pixels = imageio.imread(self.tab.screenshot())
    return tuple(int(of) for of in pixels[int(place["y"]) + 14, int(place["x"]) + 14, :3])


@pytest.fixture
def page(browser, server):
  opened = Page(browser, server[0])
  yield opened
  opened.tab.close()
  assert opened.complaints == []


def test_open_click_undo_save_and_open_again(page, server):
  tab, (_, studio) = page.tab, server
  page.open("knee.nii.gz", served.volume(SHAPE, affine=np.diag([-1.0, 1, 1.5, 1])))
  tab.get_by_role("radio", name="bright").click()
  place = tab.evaluate(MIDDLE)
  grey = page.colour(place)
  assert max(grey) - min(grey) < 12
  assert tab.evaluate(MASK) == 0
  tab.mouse.click(place["x"], place["y"])
  page.changed(1)
  # NiiVue counts the label's place, the second one
  assert tab.evaluate(MASK) == 2
  red, green, blue = page.colour(place)
  assert red - blue > 40
  assert green - blue > 25
  tab.get_by_role("button", name="Undo").click()
  page.changed(2)
  assert tab.evaluate(MASK) == 0
  assert page.colour(place) == grey
  tab.get_by_role("button", name="Redo").click()
  page.changed(3)
  with tab.expect_download() as download:
    tab.get_by_role("button", name="Save segmentation").click()
  written = np.asarray(nib.load(studio.scans.label("knee", "final")).dataobj)
  assert download.value.suggested_filename == "knee_segmentation.nii.gz"
  x, y, z = place["file"][::-1]
  assert written[x, y, z] == 9
  tab.reload()
  tab.wait_for_selector("body[data-ready=yes]")
  page.changed(3)
  assert tab.evaluate(f"() => view.nv.volumes[1].getValue(...view.toRas({place['file']}))") == 2


def test_a_drag_is_refused_in_words_where_the_run_takes_no_lines_and_nothing_changes(page):
  tab = page.tab
  page.open("line.nii.gz", served.volume(SHAPE))
  place = tab.evaluate(MIDDLE)
  tab.mouse.move(place["x"], place["y"])
  tab.mouse.down()
  tab.mouse.move(place["x"] + 90, place["y"] + 60, steps=8)
  tab.mouse.up()
  assert "without lines" in tab.text_content("#message")
  page.changed(0)


def test_everything_is_done_by_keys_alone(page, server):
  tab, (_, studio) = page.tab, server
  page.open("keys.nii.gz", served.volume(SHAPE))
  press = tab.keyboard.press
  before = tab.evaluate("() => view.cursor")
  for key in ("ArrowRight", "ArrowUp", "PageUp"):
    press(key)
  after = tab.evaluate("() => view.cursor")
  assert [abs(a - b) for a, b in zip(after, before, strict=True)] == [1, 1, 1]
  press("1")
  press("Enter")
  page.changed(1)
  assert tab.evaluate(MASK) == 1
  press("-")
  # a minus where a plus stands contradicts it, and is told
  tab.wait_for_selector("#message:not([hidden])")
  press("z")
  page.changed(2)
  assert tab.evaluate(MASK) == 0
  press("Shift+z")
  page.changed(3)
  press("f")
  page.changed(4)
  assert tab.get_by_role("button", name="Frozen: dim").get_attribute("aria-pressed") == "true"
  with tab.expect_download():
    press("s")
  x, y, z = tab.evaluate("() => view.toFile(view.cursor)")[::-1]
  written = np.asarray(nib.load(studio.scans.label("keys", "final")).dataobj)
  assert written[x, y, z] == 5
  press("?")
  assert tab.get_by_role("dialog").is_visible()
  press("Escape")
  # every control has a name for those who don't see it
  nameless = tab.evaluate(
    """() => [...document.querySelectorAll("button, select, input:not([hidden])")]
      .filter((of) => !(of.textContent.trim() || of.ariaLabel || of.labels?.length || of.title))
      .map((of) => of.outerHTML)"""
  )
  assert nameless == []


def test_a_file_that_is_no_scan_is_told_in_a_sentence(page):
  page.tab.set_input_files("#file", {"name": "a.pdf", "mimeType": "", "buffer": b"%PDF-1.4"})
  page.tab.wait_for_selector("#message:not([hidden])")
  words = page.tab.text_content("#message")
  assert "a.pdf" in words
  assert words.endswith(".")


def test_the_list_names_the_scan_that_is_shown_though_another_was_chosen_in_vain(page):
  page.open("shown.nii.gz", served.volume(SHAPE))
  page.tab.evaluate("() => document.querySelector('#scans').append(new Option('gone', 'gone'))")
  page.tab.select_option("#scans", "gone")
  page.tab.wait_for_selector("#message:not([hidden])")
  assert "no scan 'gone'" in page.tab.text_content("#message")
  page.tab.wait_for_selector("#busy", state="hidden")
  assert page.tab.input_value("#scans") == "shown"


def answers_with(page, pattern, act, **answer) -> str:
  """What the page says of an act, where the server answers these requests so from now on."""
  page.tab.route(pattern, lambda route: route.fulfill(**answer))
  act()
  page.tab.wait_for_selector("#message:not([hidden])")
  page.complaints.clear()  # the browser's own, or NiiVue's
  return page.tab.text_content("#message")


def test_a_scan_that_does_not_come_leaves_the_one_that_is_shown(page):
  tab = page.tab
  page.open("other.nii.gz", served.volume(SHAPE))
  page.open("first.nii.gz", served.volume(SHAPE))
  choose = functools.partial(tab.select_option, "#scans", "other")
  assert "answered 500" in answers_with(page, "**/mask.nii.gz", choose, status=500, body="no")
  page.lists("first")
  place = tab.evaluate(MIDDLE)
  tab.mouse.click(place["x"], place["y"])
  page.changed(1)
  assert tab.evaluate(MASK) == 1


def test_of_a_scan_that_cannot_be_shown_nothing_can_be_marked(page):
  tab = page.tab
  page.open("before.nii.gz", served.volume(SHAPE))
  page.open("broken.nii.gz", served.volume(SHAPE))
  choose = functools.partial(tab.select_option, "#scans", "before")
  words = answers_with(page, "**/mask.nii.gz", choose, status=200, body="this is no volume")
  assert "cannot show before" in words
  assert tab.is_visible("#empty")
  assert tab.evaluate("() => document.querySelector('#mark-section').inert")
  assert tab.evaluate("() => view.nv.volumes.length") == 0
  page.lists("")
  tab.unroute("**/mask.nii.gz")
  choose()
  tab.wait_for_selector("#empty", state="hidden")


def test_a_mask_that_does_not_come_leaves_the_state_that_is_shown(page):
  tab = page.tab
  page.open("late.nii.gz", served.volume(SHAPE))
  place = tab.evaluate(MIDDLE)
  click = functools.partial(tab.mouse.click, place["x"], place["y"])
  answers_with(page, "**/mask", click, status=500, body="no")
  page.changed(0)
  tab.unroute("**/mask")
  # the server knows more than is shown: the next step shows that first
  tab.keyboard.press("Enter")
  page.changed(1)
  assert tab.evaluate(MASK) == 1


def test_a_picture_of_the_page(browser, server, tmp_path):
  """What is in the docs is made so: PICTURES names a folder to keep it in."""
  opened = Page(browser, server[0])
  opened.open("shin.nii.gz", served.volume(SHAPE, affine=np.diag([-1.0, 1, 1.5, 1])))
  folder = pathlib.Path(os.environ.get("PICTURES", tmp_path))
  opened.tab.screenshot(path=folder / "page.png")
  assert (folder / "page.png").stat().st_size > 10_000
  opened.tab.close()
