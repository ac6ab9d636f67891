"""nnU-Net's trainers by name: their lengths, and which are refused."""

import pytest

from jaxseg.interop.nnunet_trainers import TRAINERS, trainer_of


@pytest.mark.parametrize(
  ("name", "epochs"),
  [
    ("nnUNetTrainer", 1000),
    ("nnUNetTrainer_1epoch", 1),
    ("nnUNetTrainer_250epochs", 250),
    ("nnUNetTrainer_4000epochs_NoMirroring", 4000),
    ("nnUNetTrainer_onlyMirror01_1500ep", 1500),
    ("nnUNetTrainerDA5_10epochs", 10),
  ],
)
def test_trainers_are_as_long_as_nnunets(name, epochs):
  assert trainer_of(name, "x").epochs == epochs


def test_what_a_trainer_does_otherwise_is_known():
  assert TRAINERS["nnUNetTrainerNoMirroring"].differs == ""
  assert TRAINERS["nnUNetTrainerAdam"].differs == "optimiser"
  assert TRAINERS["nnUNetTrainerCELoss"].differs == "loss"


def test_an_unknown_trainer_may_be_like_a_known_one_but_not_one_with_another_network():
  assert trainer_of("Mine", "x", like="nnUNetTrainer_5epochs").epochs == 5
  with pytest.raises(ValueError, match="x: was trained by nnUNetTrainerBN, whose network"):
    trainer_of("nnUNetTrainerBN", "x", like="nnUNetTrainer")
