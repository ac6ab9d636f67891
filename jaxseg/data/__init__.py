"""Readers and writers of image formats, data sets, splits, and the prepared set."""

from collections.abc import Callable

from jaxseg.data.formats.geometry import Geometry
from jaxseg.data.formats.images import read_image, read_label, write_image, write_label
from jaxseg.data.prepared.dataset import Dataset, open_prepared
from jaxseg.data.prepared.fields import Maker, with_fields
from jaxseg.data.prepared.frequencies import label_counts
from jaxseg.data.prepared.maps import MAPS, bind_map, with_maps
from jaxseg.data.prepared.marks import BOXES, FIELDS, MARKS
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.prepared.preparing import prepare
from jaxseg.data.sources import phantom as phantoms
from jaxseg.data.sources.case_folders import case_folders
from jaxseg.data.sources.decathlon import msd
from jaxseg.data.sources.hdf5 import h5
from jaxseg.data.sources.nnunet_folder import nnunet_raw
from jaxseg.data.sources.picture_folder import paired_folder
from jaxseg.data.sources.source import RawCase, Source
from jaxseg.data.sources.synthetic import synthetic as synthetic_cases
from jaxseg.data.sources.tfds_folder import tfds
from jaxseg.data.sources.tfds_writing import write_tfds
from jaxseg.data.sources.translated import translated
from jaxseg.data.splits import SPLITS

SOURCES: dict[str, Callable[..., Source]] = {
  "phantom": phantoms.phantom,
  "nnunet_raw": nnunet_raw,
  "msd": msd,
  "case_folders": case_folders,
  "paired_folder": paired_folder,
  "h5": h5,
  "tfds": tfds,
  "synthetic": synthetic_cases,
  "translated": translated,
}

__all__ = [
  "BOXES",
  "FIELDS",
  "MAPS",
  "MARKS",
  "SOURCES",
  "SPLITS",
  "Dataset",
  "Geometry",
  "Maker",
  "Preparation",
  "RawCase",
  "Source",
  "bind_map",
  "case_folders",
  "h5",
  "label_counts",
  "msd",
  "nnunet_raw",
  "open_prepared",
  "paired_folder",
  "prepare",
  "read_image",
  "read_label",
  "tfds",
  "translated",
  "with_fields",
  "with_maps",
  "write_image",
  "write_label",
  "write_tfds",
]
