"""The mistakes of trust_mistakes.py: (kind, command, words that the sentence must have)."""

_HEAD = "from jaxseg import defaults\n\n\ndef get_config():\n  config = defaults.config()\n"
_TINY = """  config.steps = 3
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.data.source = dict(name="phantom", cases=5, size=(32, 32))
  config.data.patch = (32, 32)
  config.data.batch = 2
  config.checkpoint_every = 3
  config.augment = dict(mirror=dict())
"""


def _config(line: str) -> str:
  return f"{_HEAD}{_TINY}  {line}\n  return config\n"


FILES: dict[str, str | bytes] = {
  "tiny.py": _config("config.evaluate.cases = 1"),
  "sgd.py": _config('config.optimiser = dict(name="sgd", learning_rate=0.1, momentum=0.9)'),
  "argument.py": _config("pass").replace("get_config()", "get_config(size)"),
  "syntax.py": _config("config.steps = = 3"),
  "name.py": _config("config.steps = stepz"),
  "missing.py": "import no_such_module\n" + _config("pass"),
  "zero.py": _config("config.steps = 1 / 0"),
  "text.py": "Dear reader, this is a letter.\n",
  "binary.py": b"\x00\xff\x00\xfe",
  "nothing.py": "steps = 3\n",
  "value.py": "get_config = 3\n",
  "none.py": _HEAD + "  config.steps = 3\n",
  "dict.py": "def get_config():\n  return dict(steps=3)\n",
  "raises.py": _config('raise ValueError("this config is for volumes.")'),
  "key.py": _config('config.steps = {"a": 1}["b"]'),
  "type.py": _config('config.steps = "abc"'),
  "attribute.py": _config("config.steps = config.stepz"),
  "exits.py": _config('raise SystemExit("no")'),
  "string_network.py": _config("")
  .replace("  \n", "")
  .replace('dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)', '"unet"'),
  "float_patch.py": _config("config.data.patch = (32.5, 32.0)"),
  "true_batch.py": _config("config.data.batch = True"),
  "spacing_words.py": _config('config.data.spacing = ("a", "b")'),
  "unknown.py": _config("config.stepz = 3"),
  "deleted.py": _config("del config.seed"),
  "nan.py": _config('config.optimiser.learning_rate = float("nan")'),
  "infinite.py": _config('config.optimiser.weight_decay = float("inf")'),
  "numpy.py": "import numpy as np\n" + _config("config.optimiser.learning_rate = np.float32(0.1)"),
  "one_case.py": _config("config.data.source.cases = 1"),
  "note.txt": "a file\n",
  "folder.py/keep": "",
}

_NUMBER = "numbers of the config"
_OPTION = "options of components"
_NAME = "names that there are not"
_FILE = "config files"
_COMMAND = "flags, folders, folds"
_PLAN = "plans"
_VERB = "other verbs"
_RESUME = "another config in a run's folder"


def _train(options: str) -> str:
  return f"train --config=tiny.py --workdir=new {options}"


def _of(kind: str, rows) -> list[tuple[str, ...]]:
  """Overrides of tiny.py: (--config.FIELD=VALUE without the dashes, words...)."""
  return [(kind, _train(f"--config.{row[0]}"), *row[1:]) for row in rows]


MISTAKES: list[tuple[str, ...]] = [
  *_of(
    _NUMBER,
    [
      ("steps=-5", "config.steps", "-5", "from 1"),
      ("steps=0", "config.steps", "0", "from 1"),
      ("steps=abc", "config.steps", "'abc'", "whole number"),
      ("steps=1.5", "config.steps", "1.5", "whole number"),
      ("steps=1e9999", "config.steps", "inf"),
      ("seed=-1", "config.seed", "-1", "from 0"),
      ("seed=1099511627776", "config.seed", "1099511627776", "4294967295"),
      ("average=1", "config.average", "1", "below 1"),
      ("average=-0.5", "config.average", "-0.5"),
      ("log_every=0", "config.log_every", "0", "from 1"),
      ("log_every=-1", "config.log_every", "-1", "from 1"),
      ("checkpoint_every=0", "config.checkpoint_every", "0", "from 1"),
      ("evaluate.every=0", "config.evaluate.every", "0", "from 1"),
      ("evaluate.cases=-1", "config.evaluate.cases", "-1", "from 0"),
      ("evaluate.probabilities=3", "config.evaluate.probabilities", "3", "True or False"),
      ("deterministic=maybe", "config.deterministic", "maybe", "True or False"),
      ("data.batch=0", "config.data.batch", "0", "from 1"),
      ("data.batch=-1", "config.data.batch", "-1", "from 1"),
      ("data.batch=2.5", "config.data.batch", "2.5", "whole number"),
      ("data.patch=abc", "config.data.patch", "'abc'", "whole number"),
      ("data.patch=(32.5,32.0)", "config.data.patch", "32.5", "whole number"),
      ("data.patch=(0,32)", "config.data.patch", "(0, 32)", "from 1"),
      ("data.patch=(32,)", "config.data.patch", "(32,)", "two"),
      ("data.patch=(32,32,32)", "config.data.patch", "(32, 32, 32)", "rank 2"),
      ("data.patch=None", "config.data.patch", "None"),
      ("data.foreground=2.0", "config.data.foreground", "2.0", "0 to 1"),
      ("data.foreground=-0.1", "config.data.foreground", "-0.1", "0 to 1"),
      ("data.workers=-1", "config.data.workers", "-1", "from 0"),
      ("data.slices=5", "config.data.slices", "5", "0 to 2"),
      ("data.slices=0", "config.data.slices", "0"),
      ("data.spacing=(1,-1)", "config.data.spacing", "-1", "above 0"),
      ("data.spacing=(1,1,1)", "config.data.spacing", "(1, 1, 1)", "2"),
      ("data.spacing=('a','b')", "config.data.spacing", "'a'", "number"),
      ("data.transpose=(0,0)", "config.data.transpose", "(0, 0)", "order"),
      ("data.orientation=XYZ", "config.data.orientation", "XYZ", "RAS"),
      ("data.cache=disc", "config.data.cache", "disc", "disk"),
      ("data.crop_nonzero=2", "config.data.crop_nonzero", "2", "True or False"),
      ("data.normalise=zscor", "config.data.normalise", "zscor", "zscore"),
      ("data.normalise=3", "config.data.normalise", "3"),
      ("data.resampling.order=9", "config.data.resampling.order", "9", "choices"),
      ("data.source.cases=0", "cases", "0", "at least 1"),
      ("data.source.seed=abc", "config.data.source.seed", "abc", "whole number"),
      ("data.source.size=(4,4)", "size", "(4, 4)", ">= 8"),
      ("data.split.folds=9", "config.data.split.folds", "9", "2 to 5"),
      ("data.split.fold=7", "config.data.split.fold", "7", "0 to 4"),
      ("data.split.fold=-1", "config.data.split.fold", "-1", "from 0"),
      ("data.split.group=x", "config.data.split.group", "x"),
    ],
  ),
  *_of(
    _OPTION,
    [
      ("network=unet", "config.network", "'unet'", "dict"),
      ("network.widths=abc", "config.network.widths", "'abc'", "whole number"),
      ("network.widths=(4,-8)", "config.network.widths", "-8", "from 1"),
      ("network.widths=(4,8.5)", "config.network.widths", "8.5", "whole number"),
      ("network.widths=(4,)", "config.network", "widths"),
      ("network.dropout=1.5", "config.network.dropout", "1.5", "below 1"),
      ("network.depth=0", "config.network.depth", "0", "from 1"),
      ("network.depth=(1,1,1)", "config.network", "depth", "(1, 1, 1)"),
      ("network.norm=bach", "config.network", "bach", "batch"),
      ("network.residual=perhaps", "config.network.residual", "perhaps", "True or False"),
      ("network.deep_supervision=7", "config.network", "7", "0"),
      ("network.attention=dict(name='se',reduction=0)", "reduction", "0", "from 1"),
      ("network.classes=2", "config.network.classes", "2", "leave"),
      ("method.head_decay=-1", "config.method.head_decay", "-1", "from 0"),
      ("method.auxiliary=x", "config.method.auxiliary", "'x'"),
      ("loss.dice=1.0", "config.loss.dice", "1.0", "weight"),
      ("loss.dice.weight=heavy", "config.loss.dice.weight", "heavy", "number"),
      ("loss.dice.weight=-1", "config.loss.dice.weight", "-1"),
      ("loss.dice.batch=7", "config.loss.dice.batch", "7", "True or False"),
      ("loss.cross_entropy.label_smoothing=2", "label_smoothing", "2", "below 1"),
      ("loss.cross_entropy.class_weights=(1,2)", "class_weights", "(2,)"),
      ("loss.cross_entropy.class_weights=invers", "class_weights", "invers", "inverse"),
      ("loss={}", "config.loss", "at least one"),
      ("optimiser.learning_rate=-1", "config.optimiser.learning_rate", "-1", "above 0"),
      ("optimiser.learning_rate=0", "config.optimiser.learning_rate", "0", "above 0"),
      ("optimiser.learning_rate=nan", "config.optimiser.learning_rate", "nan", "above 0"),
      ("optimiser.clip=-1", "config.optimiser.clip", "-1", "from 0"),
      ("optimiser.weight_decay=-0.1", "config.optimiser.weight_decay", "-0.1", "from 0"),
      ("optimiser.l2=-1", "config.optimiser.l2", "-1", "from 0"),
      ("optimiser.accumulate=0", "config.optimiser.accumulate", "0", "from 1"),
      ("optimiser.accumulate=99", "config.optimiser.accumulate", "99", "1 to 3"),
      ("optimiser.b1=1.5", "config.optimiser.b1", "1.5", "below 1"),
      ("optimiser.schedule.power=-1", "config.optimiser.schedule.power", "-1", "from 0"),
      ("optimiser.schedule=cosine", "config.optimiser.schedule", "cosine", "dict"),
      ("augment.mirror=True", "config.augment.mirror", "True", "dict"),
      ("augment.mirror.p=2", "config.augment.mirror.p", "2", "0 to 1"),
      ("augment.mirror.axes=(7,)", "config.augment.mirror.axes", "7", "-3 to 2"),
      ("augment.mirror.axes=(2,)", "mirror", "2"),
      ("augment.noise.sigma=(0.5,)", "config.augment.noise.sigma", "(0.5,)"),
      ("augment.noise.sigma=(0.5,0.1)", "noise", "0.5", "0.1"),
      ("augment.spatial.scale=(-1,1)", "config.augment.spatial.scale", "-1", "above 0"),
      ("predictor.overlap=1.5", "config.predictor.overlap", "1.5", "below 1"),
      ("predictor.overlap=-1", "config.predictor.overlap", "-1", "from 0"),
      ("predictor.batch=0", "config.predictor.batch", "0", "from 1"),
      ("predictor.weighting=gausian", "config.predictor", "gausian", "gaussian"),
      ("initialise.network=no_such_run", "config.initialise.network", "no_such_run"),
      ("initialise.netwerk=run", "config.initialise.netwerk", "network"),
      ("data.prior.run=no_such_run", "no_such_run"),
    ],
  ),
  *_of(
    _NAME,
    [
      ("stepz=3", "config.stepz", "'steps'"),
      ("netwerk.name=unet", "config.netwerk", "'network'"),
      ("data.bach=3", "config.data.bach", "'batch'"),
      ("batch=3", "config.batch", "config.data.batch"),
      ("network.name=unett", "config.network.name", "'unett'", "'unet'"),
      ("network.width=(4,8)", "config.network.width", "'widths'"),
      ("method.name=supervise", "config.method.name", "'supervised'"),
      ("loss.dicee.weight=2", "config.loss.dicee", "'dice'"),
      ("loss.dice.squarred=True", "config.loss.dice.squarred", "'squared'"),
      ("optimiser.momentumm=0.9", "config.optimiser.momentumm", "options"),
      ("optimiser.name=adamm", "config.optimiser.name", "'adamm'", "adam"),
      ("optimiser.schedule.name=cosin", "config.optimiser.schedule.name", "'cosine'"),
      ("augment.noize.p=0.1", "config.augment.noize", "'noise'"),
      ("augment.mirror.axis=(0,)", "config.augment.mirror.axis", "'axes'"),
      ("predictor.name=sliding", "config.predictor.name", "'sliding'", "sliding_window"),
      ("predictor.overlapp=0.5", "config.predictor.overlapp", "'overlap'"),
      ("data.source.name=fantom", "config.data.source.name", "'phantom'"),
      ("data.source.sed=1", "config.data.source.sed", "'seed'"),
      ("data.split.name=kfolds", "config.data.split.name", "'kfold'"),
      ("data.split={'name':'file'}", "config.data.split", "path"),
      ("data.resampling.ordr=1", "config.data.resampling.ordr", "'order'"),
      ("steps.x=1", "config.steps", "'x'"),
      ("network.=1", "config.network"),
    ],
  ),
  (_NAME, "train --config=sgd.py --workdir=new --config.optimiser.momentumm=1", "'momentum'"),
  *[
    (_FILE, f"{verb} --config={name} {rest}", name, *words)
    for verb, rest in (("train", "--workdir=new"), ("describe", ""))
    for name, *words in (
      ("syntax.py", "line 13", "= ="),
      ("none.py", "None", "return config"),
      ("zero.py", "line 13", "division"),
    )
  ],
  *[
    (_FILE, f"train --config={name} --workdir=new", *words)
    for name, *words in (
      ("name.py", "name.py", "line 13", "stepz"),
      ("missing.py", "missing.py", "line 1", "no_such_module"),
      ("text.py", "text.py", "line 1", "get_config"),
      ("binary.py", "binary.py"),
      ("nothing.py", "nothing.py", "get_config"),
      ("value.py", "value.py", "get_config"),
      ("dict.py", "dict.py", "dict", "ConfigDict"),
      ("raises.py", "raises.py", "line 13", "this config is for volumes."),
      ("key.py", "key.py", "line 13", "KeyError"),
      ("type.py", "config.steps", "'abc'", "whole number"),
      ("attribute.py", "attribute.py", "line 13", "stepz"),
      ("exits.py", "exits.py", "line 13", "no"),
      ("argument.py", "argument.py", "size"),
      ("tiny.py:big", "tiny.py", "big"),
      ("tinny.py", "tinny.py", "no such file", "tiny.py"),
      ("folder.py", "folder.py", "folder"),
      ("note.txt", "note.txt", ".py"),
      ("string_network.py", "config.network", "'unet'", "dict"),
      ("float_patch.py", "config.data.patch", "32.5", "whole number"),
      ("true_batch.py", "batch", "True"),
      ("spacing_words.py", "config.data.spacing", "'a'", "number"),
      ("unknown.py", "config.stepz", "'steps'"),
      ("deleted.py", "config.seed", "missing"),
      ("nan.py", "config.optimiser.learning_rate", "nan"),
      ("infinite.py", "config.optimiser.weight_decay", "inf"),
      ("one_case.py", "one case", "two or more"),
      ("configs/networks_2d.py:unett", "unett", "unet"),
    )
  ],
  *[
    (_COMMAND, f"train {text}", *words)
    for text, *words in (
      ("--workdir=new", "--config"),
      ("--config=tiny.py", "--workdir"),
      ("--config --workdir=new", "--config", "FILE"),
      ("--config=tiny.py --workdir=", "--workdir"),
      ("--config=tiny.py --workdir=note.txt", "note.txt", "file"),
      ("--config=tiny.py --workdir=note.txt/run", "note.txt", "file"),
      ("--config=tiny.py --workdr=new", "workdr", "workdir"),
      ("--config.steps=3 --workdir=new", "--config=FILE"),
      ("--config=tiny.py --workdir=new --config.steps", "--config.steps", "VALUE"),
      ("--config=tiny.py --workdir=new --noconfig.steps", "--noconfig.steps", "True or False"),
      ("--config=tiny.py --workdir=new more", "more"),
      ("--config=tiny.py --workdir=new --fold=7", "--fold=7", "0 to 4"),
      ("--config=tiny.py --workdir=new --fold=-1", "--fold=-1", "0 to 4"),
      ("--config=tiny.py --workdir=new --fold=al", "--fold=al", "all"),
      ("--config=tiny.py --workdir=new --fold=", "--fold=", "all"),
      ("--config=tiny.py --workdir=run --fold=all", "run", "another --workdir"),
      (
        "--config=tiny.py --workdir=new --config.network.widths=(4,8) --config.network={}",
        "--config.network.widths",
      ),
    )
  ],
  (_COMMAND, "trainn --config=tiny.py", "trainn", "'train'"),
  *[
    (_PLAN, f"train --config=configs/{text} --workdir=new", *words)
    for text, *words in (
      ("auto.py:set,foo=1", "auto.py", "foo=1", "preset"),
      ("auto.py:set,preset=cpuu", "config.plan.preset", "cpuu", "cpu"),
      ("auto.py:set,configuration=4d", "config.plan.configuration", "4d", "3d_fullres"),
      ("auto.py:no_such_folder", "no_such_folder"),
      ("auto.py", "msd_hippocampus"),
      ("auto.py:set --config.optimiser.momentumm=1", "config.optimiser.momentumm", "'momentum'"),
      ("auto.py:set --config.network.kernel=3", "config.network.kernel", "'kernels'"),
      ("auto.py:set --config.data.batch=0", "config.data.batch", "0", "from 1"),
      ("auto.py:set --config.steps=0", "config.steps", "0", "from 1"),
    )
  ],
  (_PLAN, "describe --config=configs/auto.py:set", "jaxseg plan set"),
  *[
    (_VERB, text, *words)
    for text, *words in (
      ("describe --config=tiny.py --config.network.widths=abc", "config.network.widths", "abc"),
      ("describe --config=tiny.py --batch=0", "--batch", "0", "from 1"),
      ("describe --config=tiny.py --chanels=2", "--chanels", "'--channels'"),
      ("describe", "--config"),
      ("augment --config=tiny.py --preview --draws=0", "--draws", "0", "from 1"),
      ("augment --config=tiny.py --preview --seed=-1", "--seed", "-1", "from 0"),
      ("augment --config=tiny.py --preview --output=sheet.xyz", "sheet.xyz", ".png"),
      ("augment --config=tiny.py", "--preview"),
      ("augment --config=tiny.py --preview --config.augment={}", "config.augment", "--all"),
      ("convert --config=tiny.py", "--output"),
      ("convert --config=tiny.py --output=note.txt", "note.txt", "file"),
      ("convert --config=tiny.py --output=new --cases=som", "som", "validation"),
      ("convert --config=tiny.py --output=new --config.data.split.fold=9", "fold", "9", "0 to 4"),
      ("plan set --workers=-2", "--workers", "-2", "from 1"),
      ("plan set --gpu-memory=-3", "--gpu-memory", "-3", "from 1"),
      ("plan set --spacing 0 0 0", "--spacing", "0", "above 0"),
      ("plan set --preset=cpuu", "--preset", "cpuu", "cpu"),
      ("plan nowhere", "nowhere", "no such folder"),
      ("plan set --config.steps=3", "--config.steps=3", "set"),
      ("plan tiny.py --config.data.source.cases=0", "cases", "0"),
      ("plan set --output=note.txt", "note.txt", "file"),
      ("evaluate masks masks --tolerance=-1", "--tolerance", "-1", "from 0"),
      ("evaluate masks set/labelsTr --option dice.empty=abc", "dice.empty", "abc", "number"),
      ("evaluate masks masks --metrics dize", "dize"),
      ("evaluate masks masks --workers=0", "--workers", "0", "from 1"),
      ("evaluate masks nowhere", "nowhere"),
      ("predict --workdir run --input nowhere --output new", "nowhere"),
      ("predict --workdir nowhere --input set --output new", "nowhere"),
      ("report nowhere", "nowhere"),
      ("find-best nowhere", "nowhere"),
    )
  ],
  *[
    (_RESUME, f"train --config=tiny.py --workdir=run --config.{text}", *words)
    for text, *words in (
      ("data.normalise=none", "run", "normalise", "--workdir"),
      ("loss.dice.weight=2.0", "run", "loss", "--workdir"),
      ("data.batch=3", "run", "batch", "--workdir"),
      ("data.patch=(16,16)", "run", "patch", "--workdir"),
      ("seed=5", "run", "seed", "--workdir"),
      ("data.source.size=(40,40)", "run", "size", "--workdir"),
      ("steps=2", "run", "steps"),
    )
  ],
]

# what the config file leaves out, other ways to say a thing, and edges of ranges
CONTROLS = [
  _train(options)
  for options in (
    "",
    "--config.data.source.seed=5",
    "--config.network.norm=instance",
    "--config.augment.mirror.axes=(1,)",
    "--config.loss.dice.weight=2",
    "--config.augment.noise.p=0.1",
    "--config.augment.mirror=None",
    "--config.network.attention.name=se --config.network.attention.reduction=4",
    "--config.network.attention=dict(name='se',reduction=4)",
    "--config.optimiser={'name':'sgd','learning_rate':0.1,'momentum':0.9}",
    "--config.optimiser.schedule=None",
    "--config.optimiser.clip=0",
    "--noconfig.deterministic",
    "--config.deterministic",
    "--config.deterministic=false",
    "--config.evaluate.cases=0 --config.data.workers=0 --config.average=0.5",
    "--config.steps 4",
    "--config.network.widths 4,8",
    "--config.data.normalise=minmax",
    "--config.seed=4294967295 --config.data.foreground=1",
    "--config.loss.cross_entropy.class_weights=inverse",
    "--config.loss.dice.weight={'name':'linear','start':0.5,'end':1.0}",
    "--config.data.spacing=(1,None)",
    "--fold=0",
    "--fold=0 1",
  )
] + [
  "train --workdir=new --config.steps=4 --config tiny.py",
  "train --config=numpy.py --workdir=new",
  "train --config=argument.py:3 --workdir=new",
  "describe --config=tiny.py --config.network.widths=(4,8,16)",
  "describe --config=configs/networks_2d.py:vnet --channels=3 --classes=2",
  "convert --config=tiny.py --config.data.source.cases=6 --output=more",
  "augment --config=tiny.py --preview --config.augment.gamma.p=1 --draws=1",
  "evaluate masks set/labelsTr --metrics dice nsd --tolerance=0 --option dice.empty=nan",
  "evaluate masks set/labelsTr --metrics hausdorff --option hausdorff.one_empty=inf",
  "plan set --output=plans/set --workers=1",
  "describe --config=configs/auto.py:set",
]
