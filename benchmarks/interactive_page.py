"""Five clicks in a browser: a scan of a set is opened, clicked and saved, as a user would do it.

Usage: python benchmarks/interactive_page.py RUN SCAN LABEL [--clicks 5]
       [--output docs/interactive_page.png]

A simulated user of `jaxseg interact`, who knows LABEL, says where to click. The same clicks are
made by keys on the page of `jaxseg serve` in Chromium: what is saved there should be what
`interact` wrote, voxel by voxel, and --output is a picture of the page. Printed: Dice before the
first click and after each, and how many voxels differ (0).

Needs Chromium and playwright (apt install chromium; pip install playwright). RUN is one of
benchmarks/interactive.py, as runs/interactive/msd_hippocampus/ritm/seed0.
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import nibabel as nib
import numpy as np
from playwright import sync_api as playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# WebGL without a graphics card
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
FLAGS += ["--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
JAXSEG = (sys.executable, "-m", "jaxseg")


def simulated(run, scan, label, clicks: int, folder: pathlib.Path):
  """The prompts of a simulated user, Dice after each, and the last segmentation."""
  words = [run, "--input", scan, "--label", label, "--simulate", str(clicks), "--output", folder]
  subprocess.run([*JAXSEG, "interact", *map(str, words)], check=True)
  (case,) = json.loads((folder / "interact.json").read_text(encoding="utf-8"))["cases"].values()
  return case["prompts"], case["dice"]["mean"], voxels(folder / scan.name)


def voxels(path: pathlib.Path) -> np.ndarray:
  return np.asarray(nib.load(path).dataobj)


def click(tab, prompt, names, changes: int) -> None:
  """One prompt by keys: the cursor is put there, the label is chosen, and it is marked."""
  tab.evaluate("at => { view.cursor = view.toRas(at); }", prompt["point"])
  tab.focus("#viewer")
  if prompt["class"] in names:
    tab.keyboard.press(str(1 + names.index(prompt["class"])))
    tab.keyboard.press("Enter")
  else:
    tab.keyboard.press("-")
  tab.wait_for_selector(f"body[data-changes='{changes}']")
  tab.wait_for_selector("#busy", state="hidden")


def clicked(address: str, name: str, prompts, output: pathlib.Path) -> None:
  """Opens a scan on the page, clicks, saves, and takes a picture."""
  with playwright.sync_playwright() as started:
    browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.goto(address)
    tab.wait_for_selector("body[data-ready=yes]")
    tab.select_option("#scans", name)
    tab.wait_for_selector("body[data-changes='0']")
    names = tab.eval_on_selector_all("#labels .name", "all => all.map((of) => of.textContent)")
    tab.get_by_role("radio", name="All").click()
    for number, prompt in enumerate(prompts, start=1):
      click(tab, prompt, names, number)
    tab.wait_for_timeout(500)
    tab.screenshot(path=output)
    with tab.expect_download():
      tab.get_by_role("button", name="Save segmentation").click()
    browser.close()


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  for name in ("run", "scan", "label"):
    parser.add_argument(name, type=pathlib.Path)
  parser.add_argument("--clicks", type=int, default=5)
  parser.add_argument("--output", type=pathlib.Path, default="docs/interactive_page.png")
  wanted = parser.parse_args()
  with tempfile.TemporaryDirectory() as place:
    home = pathlib.Path(place)
    prompts, dice, made = simulated(
      wanted.run, wanted.scan, wanted.label, wanted.clicks, home / "simulated"
    )
    print("Dice after each click:", *(f"{value:.3f}" for value in dice))
    (home / "scans").mkdir()
    shutil.copy(wanted.scan, home / "scans")
    words = ["serve", wanted.run, "--scans", home / "scans", "--folder", home / "annotations"]
    with subprocess.Popen(
      [*JAXSEG, *map(str, words), "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as server:
      try:
        address = next(of[0] for line in server.stdout if (of := re.findall(r"http://\S+", line)))
        name = wanted.scan.name.partition(".")[0]
        clicked(address, name, prompts, wanted.output)
        saved = voxels(home / "annotations" / "labels" / "final" / f"{name}.nii.gz")
      finally:
        server.terminate()
  print(f"{np.count_nonzero(saved != made)} of {made.size} voxels differ; {wanted.output}")


if __name__ == "__main__":
  main()
