"""Through which of the package's files a scan goes, from its file to the written segmentation.

What compiles, loads the run or is the network itself is left out: the last of several scans counts.

Run: python benchmarks/files_crossed.py RUN SCANS   (a run folder; a folder of at least two scans)
"""

import pathlib
import sys
import tempfile

import jaxseg
from jaxseg.verbs import predict

HOME = pathlib.Path(jaxseg.__file__).parent
APART = ("networks", "methods", "method.py")


def main(run: str, scans: str) -> None:
  crossed: dict[str, None] = {}

  def profile(frame, event, argument):
    del argument
    path = pathlib.Path(frame.f_code.co_filename)
    if event == "call" and path.is_relative_to(HOME):
      inside = path.relative_to(HOME)
      if inside.parts[0] not in APART:
        crossed[str(inside)] = None

  read, write = predict.read, predict.write

  def first(*arguments):
    crossed.clear()
    sys.setprofile(profile)
    return read(*arguments)

  def last(*arguments, **options):
    try:
      return write(*arguments, **options)
    finally:
      sys.setprofile(None)

  predict.read, predict.write = first, last
  with tempfile.TemporaryDirectory() as output:
    predict.main(["--workdir", run, "--input", scans, "--output", output])
  print(f"{len(crossed)} files")
  print("\n".join(crossed))


if __name__ == "__main__":
  main(*sys.argv[1:])
