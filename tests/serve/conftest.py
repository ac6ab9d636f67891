"""A run that takes prompts, for all that is served."""

import pointer
import pytest
from pointer import pointer_tables  # noqa: F401


@pytest.fixture(scope="module")
def run(tmp_path_factory, pointer_tables):  # noqa: F811
  folder = tmp_path_factory.mktemp("runs") / "pointer"
  return pointer.write(folder, rank=3, **{"data.patch": (8, 8, 8)})
