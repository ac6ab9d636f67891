"""LinkNet: bad options, and a decoder that adds what the encoder has."""

import pytest
from abstract import traced

from jaxseg.networks import LinkNet


@pytest.mark.parametrize("size", [(32, 64), (32, 32, 64)])
def test_features_have_the_sizes_of_their_stages(size):
  _, out = traced(LinkNet(2, widths=(4, 6, 8)), 1, *size, 1)
  assert out["logits"].shape == (1, *size, 2)
  assert out["bottleneck"].shape == (1, *(n // 16 for n in size), 8)
  assert out["decoder"].shape == (1, *(n // 2 for n in size), 2)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    (dict(widths=()), r"widths=\(\); expected"),
    (dict(widths=(4, 0)), r"widths=\(4, 0\); expected"),
    (dict(norm="group"), "norm"),
    (dict(dtype="float16"), "dtype"),
  ],
)
def test_bad_options_are_told(options, words):
  with pytest.raises(ValueError, match=rf"linknet: .*{words}"):
    LinkNet(**options)
