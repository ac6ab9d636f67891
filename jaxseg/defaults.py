"""The fields that every config has, with their defaults; a config file sets what differs."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jaxseg.build import suggestion
from jaxseg.packages import OnDemand

ml_collections = OnDemand("ml_collections")

# the fields of config.data that `planned` leaves to a plan: None until there is one
PLANNED = (
  "orientation",
  "spacing",
  "transpose",
  "crop_nonzero",
  "resampling",
  "normalise",
  "patch",
  "batch",
  "foreground",
  "slices",
)


class Fields(dict):
  """A dict whose entries are attributes, too."""

  def __getattr__(self, name: str) -> Any:
    try:
      return self[name]
    except KeyError:
      raise AttributeError(name) from None

  def __setattr__(self, name: str, value: Any) -> None:
    self[name] = Fields(value) if type(value) is dict else value


def config() -> "ml_collections.ConfigDict":
  """A new config with every field of an experiment, see `fields`."""
  # types are told with the field's path, see `config.fields`
  c = ml_collections.ConfigDict(fields(), type_safe=False)
  # flags tell a word from a number by a field's type: these may have any, and a whole number
  c.data.normalise = ml_collections.FieldReference("auto", field_type=object)
  c.data.slices = ml_collections.config_dict.placeholder(int)
  return c


def fields() -> Fields:
  """Every field of an experiment as plain data, with its default; `config` for command lines.

  Components (network, method, ..., and each entry of `loss` and `augment`) are dicts with a
  "name" and that component's options; assign a whole dict to choose another component.
  """
  c = Fields()
  c.seed = 0
  c.steps = 1000  # training length, in batches
  c.task = dict(name="segmentation")
  c.method = dict(name="supervised")
  c.network = dict(name="unet")
  c.loss = dict(
    cross_entropy=dict(name="cross_entropy", weight=1.0),
    dice=dict(name="dice", weight=1.0, include_background=False, batch=True),
  )
  c.optimiser = dict(
    name="adamw",
    learning_rate=1e-3,
    schedule=dict(name="polynomial", power=0.9),
    weight_decay=1e-2,
    l2=0.0,  # the loss gains l2 / 2 |w|^2
    clip=12.0,  # largest norm of the gradient; 0 is no limit
    accumulate=1,  # batches per update
    scale=dict(),  # pattern of paths -> factor of the rate, or a schedule of it; 0 freezes
    layers=(),  # patterns of paths from the input up, or "encoder": for the next two
    layer_decay=1.0,  # of the rate, from each layer to the next one down
    unfreeze=(),  # steps, or shares of training, at which layers begin to learn, the top first
    frozen_norms="adapted",  # or "kept": batch norms of frozen parts keep their statistics
    l2_sp=0.0,  # the loss gains l2_sp / 2 |w - w0|^2 of the weights that config.initialise took
    l2_new=0.01,  # and then l2_new / 2 |w|^2 of the others
  )
  # what fills the further roles of the method, which are the parameters of its constructor before
  # the *: networks.critic its `critic`, losses.critic and optimisers.critic its `critic_loss` and
  # `critic_optimiser`
  # critic=dict(name="patch_critic"); teacher=dict(run=FOLDER): the network and weights of that run,
  # of a cross-validation's folder those of the same fold; teacher=dict(runs=FOLDER): all its folds
  c.networks = dict()
  c.losses = dict()  # critic=dict(dice=dict(...)), as `loss`; a role that is left out has `loss`
  # critic=dict(name="adam", learning_rate=2e-4, b1=0.5), complete by itself; without a name it is
  # `optimiser` with what it changes, as critic=dict(learning_rate=2e-4); left out it is `optimiser`
  c.optimisers = dict()
  # what a method sees beside the batch, its voxels where they were: strong=dict(noise=dict(), ...),
  # transforms of intensity as in `augment`
  c.views = dict()
  # what the backward pass computes again instead of keeping it, for less memory: "none"; norms and
  # activations but no "products"; all inside of "blocks"; "offload" keeps products on the host
  c.remat = "none"
  c.average = 0.0  # decay of an exponential moving average of the weights; 0 is off
  # learner -> what its weights start from: a run folder, dict(run=...), dict(file=..., format=...)
  c.initialise = dict()
  c.plan = dict()  # data=, preset=, configuration=, previous=, folder=: see `planned`
  # what `jaxseg search` tries of this config: space=, strategy=, evaluation=, split=, budget=,
  # first=, limits=, see jaxseg/search/plan.py; {} of a config that is trained
  c.search = dict()

  # further streams of data, nested in a batch under their names: what each has otherwise than
  # config.data and config.augment, as target=dict(source=dict(...)), rest=dict(cases="unlabelled")
  c.streams = dict()

  c.data = Fields()
  c.data.source = dict(name="phantom")
  # a scheme, or one per channel
  c.data.normalise = "auto"
  c.data.orientation = "stored"
  c.data.transpose = ()  # order of the axes after that; spacing, patch and slices follow it
  c.data.crop_nonzero = False  # to the box of voxels that are nonzero in any channel
  c.data.spacing = ()  # millimetres per axis, None for its own; () does not resample
  # size=() that all cases get, as (None, 256, 256); order=3, label_order=1, score_order=1,
  # order_z=0, separate_z=None, corners=False
  c.data.resampling = dict()
  # labelled=0.1, 7 or names: the training cases whose labels are used, drawn by labelled_seed=0
  c.data.split = dict(name="kfold", fold=0, folds=5, seed=12345)
  c.data.classes = ()  # of the source's, those that count, by name; () is all of them
  c.data.folder = "prepared"  # where prepared data sets are kept
  c.data.workers = 0  # processes that prepare; 0 is one per core
  c.data.patch = (128, 128)
  c.data.batch = 4
  c.data.foreground = 1 / 3  # share of the patches that are centred on foreground
  c.data.slices = None  # axis along which volumes are sliced for 2D
  c.data.cache = "device"  # or "host", or "disk" for sets larger than memory
  c.data.prior = dict()  # run=FOLDER of a cascade's first stage, whose segmentations are an input
  # further fields of the training cases, as scribble=dict(name="folder", path=..., unknown=4)
  c.data.fields = dict()
  # what training cases learn from: their full "label", or what a field has in its place, as
  # "scribble", with weight 0 where nothing was drawn; validation cases have full labels
  c.data.annotation = "label"
  c.data.maps = dict()  # options of the maps that a loss needs, such as border=dict(w0=10, sigma=5)

  c.augment = dict()
  c.predictor = dict(name="sliding_window", overlap=0.5, batch=4)
  c.evaluate = Fields()
  c.evaluate.every = 250  # steps
  c.evaluate.cases = 0  # of the validation cases, evenly spread; 0 is all of them
  # whose validation cases are scored at the end, "main" for the main stream's; () is these alone.
  # Those of the main stream are scored while training and choose the best checkpoint, no others
  c.evaluate.streams = ()
  c.evaluate.metrics = ()  # while training; () is the task's own: Dice and IoU
  c.evaluate.best = ""  # of these, what the best checkpoint is judged by; "" is the first
  c.evaluate.probabilities = False  # written with the final predictions; find-best averages them
  c.mesh = Fields()  # devices along each axis, -1 for all that are left
  c.mesh.batch = -1
  c.mesh.space = 1  # splits an axis of every patch
  c.mesh.member = 1
  c.mesh.parameters = "replicated"  # or "fsdp", or patterns of paths -> one of these
  c.mesh.smallest = 2**16  # values of an array from which on "fsdp" splits it
  c.mesh.optimiser = "device"  # or "host", where its state rests between updates
  c.members = 1  # networks that are trained together; predictions are the mean of their scores
  c.log_every = 10  # steps
  c.checkpoint_every = 250  # steps
  c.deterministic = True  # on a GPU: only kernels that give the same bits every time
  return c


def assign(config: "ml_collections.ConfigDict", values: Mapping[str, Any]) -> None:
  """Sets fields by path, as {"data.fields": dict(...)}; a dict replaces the former one."""
  for path, value in values.items():
    *groups, field = path.split(".")
    of = config
    for group in groups:
      of = of[group]
    of[field] = value


def arguments(
  words: Sequence[str],
  initial: Mapping[str, str],
  first: str,
  choices: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> dict[str, str]:
  """NAME=VALUE words that follow a config file's first argument, of which `initial` has all.

  `choices` has the values of those arguments that take a few alone. Raises ValueError for a word
  that is none, or for another value, with the nearest one; `first` stands for the first argument in
  the message.
  """
  values = dict(initial)
  for word in words:
    name, _, value = word.partition("=")
    if name not in initial or not value:
      raise ValueError(
        f"'{word}' is no argument{suggestion(name, initial)}; expected {first},NAME=VALUE with "
        f"{', '.join(initial)}."
      )
    values[name] = value
  for name, known in choices.items():
    if values[name] not in known:
      raise ValueError(
        f"{name}={values[name]}: expected one of {', '.join(known)}"
        f"{suggestion(values[name], known)}."
      )
  return values


def planned(data: str, **options) -> "ml_collections.ConfigDict":
  """A config that leaves to a plan what nnU-Net's recipe plans; reads and plans nothing itself.

  Network, augmentation, spacing, patch, batch and the like stay empty: `planning.planned_config`
  fills them in when the plan is there; what a config file or the command line sets goes before.

  Args:
    data: a folder, a Decathlon task, or a config file whose data are meant.
    options: preset, configuration, previous, folder; see `jaxseg.planning.planned_config`.
  """
  c = config()
  c.plan = dict(data=data, **options)
  c.network = dict()
  c.loss = dict(cross_entropy=dict(weight=1.0), dice=dict(weight=1.0, include_background=False))
  c.data.source = dict()
  c.data.split = dict()
  c.predictor = dict()
  for name in PLANNED:
    c.data[name] = None
  return c
