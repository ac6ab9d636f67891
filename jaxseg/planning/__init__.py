"""From a folder of scans to a plan: fingerprint, spacing, patch, batch, topology."""

from jaxseg.planning.fingerprint import Fingerprint, fingerprint
from jaxseg.planning.mirroring import Axis, Mirroring
from jaxseg.planning.mirroring_file import FILE as MIRRORING
from jaxseg.planning.nnunet_files import (
  read_fingerprint,
  read_splits,
  write_fingerprint,
  write_splits,
)
from jaxseg.planning.nnunet_plans import read_plan, write_plan
from jaxseg.planning.plan_table import as_text
from jaxseg.planning.planner import plan
from jaxseg.planning.plans import Configuration, Description, Plan, Resampling, description
from jaxseg.planning.presets import PRESETS
from jaxseg.planning.settings import settings

__all__ = [
  "MIRRORING",
  "PRESETS",
  "Axis",
  "Configuration",
  "Description",
  "Fingerprint",
  "Mirroring",
  "Plan",
  "Resampling",
  "as_text",
  "description",
  "fingerprint",
  "plan",
  "read_fingerprint",
  "read_plan",
  "read_splits",
  "settings",
  "write_fingerprint",
  "write_plan",
  "write_splits",
]
