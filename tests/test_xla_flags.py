"""Compiler flags: added once, never over the user's, in force in a fresh process."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxseg import xla_flags


@pytest.mark.parametrize(
  ("given", "then"),
  [
    ("", "--xla_a=1"),
    ("--xla_b=2", "--xla_b=2 --xla_a=1"),
    ("--xla_a=0 --xla_b=2", "--xla_a=0 --xla_b=2"),
    ("--xla_abc=0", "--xla_abc=0 --xla_a=1"),
  ],
)
def test_what_the_user_set_stays(monkeypatch, given, then):
  monkeypatch.setenv("XLA_FLAGS", given)
  xla_flags.add("--xla_a=1")
  xla_flags.add("--xla_a=1")
  assert os.environ["XLA_FLAGS"] == then


def test_a_sum_is_ynnpacks_and_a_convolution_is_not():
  program = (
    "import jaxseg, jax, jax.numpy as jnp\n"
    "conv = lambda x, k: jax.lax.conv(x, k, (1, 1), 'SAME')\n"
    "low = lambda f, *s: jax.jit(f).lower(*(jnp.ones(n) for n in s)).compile().as_text()\n"
    "print(low(lambda x: x.sum((0, 1)), (256, 256, 32)).count('ynn'))\n"
    "print(low(conv, (1, 32, 64, 64), (32, 32, 3, 3)).count('ynn'))\n"
  )
  environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
  environment |= {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
  told = subprocess.run(
    [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
  )
  sums, convolutions = map(int, told.stdout.split())
  assert sums > 0
  assert convolutions == 0


def test_a_program_of_one_call_gives_the_same_to_rounding():
  def draw(seed):
    return jax.random.truncated_normal(jax.random.key(seed), -2, 2, (3, 3, 16, 16))

  assert xla_flags.of_one_call("gpu") is None
  once = jax.jit(draw, compiler_options=xla_flags.of_one_call("cpu"))
  np.testing.assert_allclose(once(np.uint32(3)), jax.jit(draw)(np.uint32(3)), rtol=1e-5, atol=1e-6)


def test_compiled_programs_lie_in_the_users_cache_unless_they_say_where(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  for given, then in ((None, str(tmp_path / "jaxseg" / "xla")), ("", ""), ("/a", "/a")):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    if given is not None:
      monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", given)
    xla_flags.keep_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == then


def test_nothing_is_kept_where_the_cache_cannot_be_written(monkeypatch, tmp_path):
  (tmp_path / "file").write_text("")
  (tmp_path / "file").chmod(0o444)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
  xla_flags.keep_programs()
  assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
