"""predict --domain: the preparation, the norms and the label values of the domain that is named."""

import dataclasses
import json

import imageio.v3 as imageio
import jax
import nibabel as nib
import numpy as np
import pointer
import pytest
import run_folders
import tiny
from drawn_states import state_of

from jaxseg import paths
from jaxseg.batch import LabelSpec
from jaxseg.data.stream import MAIN
from jaxseg.inference import Case
from jaxseg.interaction import session
from jaxseg.methods import by_domain
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.runs.fine_tuned import Tuning
from jaxseg.runs.interactive import open_run
from jaxseg.runs.load import load
from jaxseg.verbs import explain, predict

VALUES = LabelSpec(tiny.LABELS.names, (0, 70, 30))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run on two domains, whose norms, intensities and label values differ."""
  folder = tmp_path_factory.mktemp("run")
  options = {"method.name": "unpaired", "data.source": {"name": "phantom"}}
  made = tiny.experiment(**options, streams={"mr": {"source": {"name": "phantom", "seed": 3}}})
  prepared = made.main.dataset.preparation
  preparation = dataclasses.replace(prepared, normalisation=({"name": "zscore"},))
  other = made.main._replace(
    dataset=made.main.dataset._replace(preparation=preparation, labels=VALUES)
  )
  made = made._replace(streams={MAIN: made.main, "mr": other})
  part = {"image": np.zeros((1, 16, 16, 1), np.float32), "label": np.zeros((1, 16, 16), np.int32)}
  state = state_of(made.method, {**part, "mr": part})
  learner = state.learners["network"]
  random = np.random.default_rng(1)
  moved = jax.tree.map(
    lambda x: x + random.normal(size=x.shape).astype(np.float32),
    learner.params[by_domain.DOMAINS],
  )
  learner = learner.replace(params={**learner.params, by_domain.DOMAINS: moved})
  run_folder.record(folder, made)
  checkpoint.Checkpoints(folder, checkpoint.LATEST).save(
    state.replace(learners={"network": learner}), {}
  )
  return folder


def test_what_a_domain_has_of_its_own_is_what_is_fine_tuned_on_its_scans(run):
  """Norms are the domains' own here: those of the main domain say nothing of the other's scans."""
  raw, answers = pointer.scan((16, 16)), []
  own = checkpoint.load_learners(run)["network"].params[by_domain.DOMAINS]["mr"]
  norms = tuple(paths.flatten(own))
  for tuning in (Tuning(1, 0.0, norms), Tuning(1, 0.5, norms)):
    scan = open_run(run, domain="mr", tuning=tuning).scan(raw)
    state = session.add(scan, session.start(scan), {"class": scan.names[1], "point": (5, 9)})
    answers.append(state.logits["object 1"])
  assert (answers[0] != answers[1]).any(-1).mean() > 0.5


def main(run, source, output, *options):
  predict.main(["--workdir", str(run), "--input", str(source), "--output", str(output), *options])


@pytest.fixture
def picture(tmp_path):
  image = np.random.default_rng(0).integers(0, 255, (16, 16)).astype(np.uint8)
  imageio.imwrite(tmp_path / "a.png", image)
  return tmp_path / "a.png"


def test_each_domain_has_its_label_values(run, picture, tmp_path):
  for domain, values in (("main", (0, 5, 9)), ("mr", (0, 70, 30))):
    output = tmp_path / domain
    main(run, picture, output, "--domain", domain)
    assert set(np.unique(imageio.imread(output / "a.png"))) <= set(values)
    legend = json.loads((output / "labels.json").read_text())
    assert legend == dict(zip(tiny.LABELS.names, values, strict=True))


def test_each_domain_has_its_norms_and_its_normalisation(run):
  sample = tiny.case(0, 2)
  logits = {}
  for number, name in enumerate(("main", "mr")):
    model = load(run, domain=name)
    assert model.described.domain == number
    fields = model.configuration.fields(None, "")
    assert fields["domain"] == number
    case = Case({"image": sample["image"], "spacing": sample["spacing"], **fields})
    logits[name] = model.logits(case)
  assert np.abs(logits["main"] - logits["mr"]).max() > 0.1
  schemes = [
    load(run, domain=n).configuration.preparations[0].normalisation for n in ("main", "mr")
  ]
  assert [of[0]["name"] for of in schemes] == ["none", "zscore"]


def test_each_domains_files_are_read_as_its_source_says(run):
  sources = [load(run, domain=n).described.config["data"]["source"] for n in ("main", "mr")]
  assert [of.get("seed") for of in sources] == [None, 3]


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ((), "was trained on the domains main, mr, and treats each otherwise; say which the images"),
    (("--domain", "mri"), "knows no domain 'mri' .did you mean 'mr'.*expected one of main, mr"),
  ],
)
def test_a_domain_that_is_missing_or_unknown_is_told(run, picture, tmp_path, options, words):
  with pytest.raises(SystemExit, match=words):
    main(run, picture, tmp_path / "out", *options)
  assert not (tmp_path / "out").exists()


def test_a_run_folder_of_one_domain_takes_no_other(picture, tmp_path):
  plain = run_folders.write(tmp_path / "plain")
  main(plain, picture, tmp_path / "out", "--domain", "main")
  with pytest.raises(
    SystemExit, match=r"knows no domain 'mr'.*it has no other, leave --domain out"
  ):
    main(plain, picture, tmp_path / "none", "--domain", "mr")


def test_a_domain_is_explained_by_its_own_norms_and_preparation(run, picture, tmp_path, capsys):
  def made(name, *options):
    box = ("--target", "region", "--region", "4:12", "4:12", "--method", "gradient")
    output = tmp_path / name
    explain.main([str(run), "--input", str(picture), "--output", str(output), *box, *options])
    (path,) = output.glob("*_gradient.nii.gz")
    return np.asarray(nib.load(path).dataobj)

  main, other = (made(name, "--domain", name, "--randomise") for name in ("main", "mr"))
  assert main.any()
  assert other.any()
  assert not np.allclose(main, other)
  with pytest.raises(SystemExit, match="say which the images are of, as --domain mr"):
    made("none")
  with pytest.raises(SystemExit, match="--domain mr: temperature is calibrated by cases of the"):
    made("calibrated", "--domain", "mr", "--method", "temperature")
