"""What a run folder tells of one of the domains that it learned from."""

import pathlib

from jaxseg import files
from jaxseg.config import domains
from jaxseg.config.streams import as_main
from jaxseg.runs import folder as run_folder
from jaxseg.runs.folder import Described


def describe(workdir, domain: str | None) -> Described:
  """What a run folder tells, as if a domain were the main stream's, which is what None means.

  Raises as `runs.folder.describe`, and ValueError for a domain that the run does not know.
  """
  workdir, told = pathlib.Path(workdir), run_folder.describe(workdir)
  if domain is None:
    return told
  domains.check(told.config, domain, str(workdir))
  told = told._replace(domain=domains.number(told.config, domain))
  if domain == domains.names(told.config)[0]:
    return told
  where = workdir / run_folder.DATASET
  of = run_folder.read_dataset(workdir, {"streams": dict})["streams"].get(domain, {})
  files.check_fields(
    of, where, advice=run_folder.ADVICE, fields={"preparation": dict}, prefix=f"streams.{domain}."
  )
  channels = of["preparation"].get("channels", told.channels)
  preparation = run_folder.preparation_in(
    {**of, "channels": list(channels), "rank": told.rank}, where
  )
  # of a stream without labels they are the main one's
  labels = run_folder.labels_in(of["labels"], where) if "labels" in of else told.labels
  own = {"config": as_main(told.config, domain), "preparation": preparation}
  return told._replace(labels=labels, channels=tuple(channels), **own)
