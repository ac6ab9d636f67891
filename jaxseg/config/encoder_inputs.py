"""What an encoder is told of its images, and what config.data.normalise makes of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxseg.config.weights import Weights, weights
from jaxseg.interop import FORMATS
from jaxseg.interop.packages import PACKAGES

# normalisation -> the option `inputs` that says the same
_MEANINGS = {
  "rgb": "unit",
  "minmax": "unit",
  "window": "unit",
  "zscore": "zscore",
  "ct": "zscore",
  "standard": "zscore",
}


# format of weights -> the encoder's options that they were trained with
_PADDINGS = {
  "efficientnet_lite": {"padding": "tensorflow", "epsilon": 1e-3},
  "timm_efficientnet_lite": {"padding": "symmetric", "epsilon": 1e-5},
}


def check(config: Mapping[str, Any], schemes: Sequence[Mapping[str, Any]], stream: str) -> None:
  """Raises ValueError where an encoder would normalise what is normalised otherwise already.

  Args:
    config: checked.
    schemes: normalisation of each channel of a stream.
    stream: its field, for messages: "config.data".
  """
  for field, inputs in _told(config):
    if config["data"].get("prior"):
      raise ValueError(
        f"config.{field}.encoder.inputs: '{inputs}', but beside the image the encoder sees the "
        "classes of another run (config.data.prior), which would be normalised as colours; "
        "expected to leave it out."
      )
    for scheme in schemes:
      meaning = _meaning(scheme)
      if meaning == inputs:
        continue
      wanted = "rgb" if inputs == "unit" else "zscore"
      same = f"inputs='{meaning}', to leave it out" if meaning else "to leave it out"
      raise ValueError(
        f"config.{field}.encoder.inputs: '{inputs}' is for images that {stream}.normalise="
        f"'{wanted}' gives, but it is '{scheme['name']}', and they would be normalised twice; "
        f"expected {same}, or {stream}.normalise='{wanted}'."
      )


def check_origin(config: Mapping[str, Any]) -> None:
  """Raises ValueError where EfficientNet-Lite's weights go into an encoder that pads otherwise.

  Their tensors are called alike, and fit.
  """
  for learner, start in config["initialise"].items():
    source, field = weights(start, f"config.initialise.{learner}"), f"networks.{learner}"
    name = PACKAGES[source.package].format if source.package else source.format
    of = config["networks"].get(learner)
    if of is None:
      field, of = "network", config["network"]
    encoder = of.get("encoder") if isinstance(of, Mapping) else None
    # a word is an encoder with its own defaults
    encoder = {} if isinstance(encoder, str) else encoder
    if name not in _PADDINGS or not isinstance(encoder, Mapping):
      continue
    for option, expected in _PADDINGS[name].items():
      default = _PADDINGS["efficientnet_lite"][option]
      if (value := encoder.get(option, default)) != expected:
        raise ValueError(
          f"config.{field}.encoder.{option}: {value!r}, but the weights of "
          f"config.initialise.{learner} ({name}) were trained with {expected!r}; expected that, or "
          "the format that they are of: efficientnet_lite is the published one and timm's "
          "tf_efficientnet_lite, timm_efficientnet_lite is timm's own."
        )


def notes(config: Mapping[str, Any], schemes: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
  """What to tell of an encoder with weights of pictures that is not told what its images are."""
  told = {field for field, _ in _told(config)}
  spec = None if config["data"].get("prior") else config["initialise"].get("network")
  meanings = {_meaning(scheme) for scheme in schemes} - {None}
  if spec is None or "network" in told or not _of_pictures(weights(spec, "config.initialise")):
    return ()
  advice = meanings.pop() if len(meanings) == 1 else "unit"
  return (
    "Warning: config.initialise.network: these weights were trained on photographs that were "
    f"normalised in a way of their own; with config.network.encoder.inputs='{advice}' the image "
    "gets that in front of the encoder, without it the encoder sees it as it is prepared.",
  )


def _meaning(scheme: Mapping[str, Any]) -> str | None:
  return None if scheme.get("signed") else _MEANINGS.get(scheme["name"])


def _told(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
  """(field, inputs) of each network whose encoder is told what its images are."""
  specs = {"network": config["network"]}
  specs |= {f"networks.{name}": of for name, of in config["networks"].items()}
  for field, spec in specs.items():
    encoder = spec.get("encoder") if isinstance(spec, Mapping) else None
    inputs = encoder.get("inputs", "as_is") if isinstance(encoder, Mapping) else "as_is"
    if inputs != "as_is":
      yield field, inputs


def _of_pictures(source: Weights) -> bool:
  name = PACKAGES[source.package].format if source.package else source.format
  return bool(name) and FORMATS[name].pictures
