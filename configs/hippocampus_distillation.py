"""Five folds into one student: hippocampus (configs/hippocampus_unet3d.py), half of its steps.

Papers: distillation (arXiv 1503.02531); folds as teachers, each case by the one that never saw it.
Data: ../shared/data/msd_hippocampus. The 40 cases of nnU-Net's fold 0 are scored at the end and
train nothing, no teacher either; five folds of the other 160 are the teachers.
Run: python benchmarks/distillation.py (all of it, resumable: teachers, student, student alone), or
     python train.py --config=configs/hippocampus_distillation.py --workdir=runs/alone
     python train.py --config=configs/hippocampus_distillation.py:teachers=FILE --fold=all ...
     python train.py --config=configs/hippocampus_distillation.py:student=FOLDER ...
After the colon, separated by commas: teachers=FILE, the five folds (JSON, as nnU-Net's
splits_final.json); student=FOLDER of that cross-validation, nothing for the same student without a
teacher; size=small for a student of a quarter of the parameters.
Cost: 300 steps, about 9 minutes of CPU time, a student about 12. Table: docs/distillation.md.
"""

import pathlib

from jaxseg.config.file import load_config

OPTIONS = ("teachers", "student", "size")
WIDTHS = {"same": (16, 32, 64, 128), "small": (8, 16, 32, 64)}


def get_config(wanted=""):
  options = dict(word.partition("=")[::2] for word in wanted.split(",") if word)
  strange = [name for name in options if name not in OPTIONS]
  size = options.get("size", "same")
  if strange or size not in WIDTHS:
    raise ValueError(
      f"'{wanted}'; expected {', '.join(OPTIONS)} with a value each, size one of "
      f"{', '.join(WIDTHS)}, as in student=runs/teachers,size=small."
    )
  config = load_config(str(pathlib.Path(__file__).with_name("hippocampus_unet3d.py")))
  config.steps = 300
  config.network.widths = WIDTHS[size]
  if "teachers" in options:
    config.data.split = dict(name="file", path=options["teachers"], fold=0)
  if "student" in options:
    config.method = dict(name="distillation", logits=1.0, temperature=2.0)
    config.networks = dict(teacher=dict(runs=options["student"]))
  # the cases that are scored are looked at once, at the end
  config.evaluate.every = config.steps
  config.checkpoint_every = 100
  return config
