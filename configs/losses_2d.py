"""Any loss for a short, equal run of one small U-Net on CHASE_DB1's vessels.

Papers: each loss's is in its docstring (jaxseg/losses).
Data: ../shared/data/chase_db1, patients 09 and 10 unseen; base: configs/networks_2d.py.
Run: python train.py --config=configs/losses_2d.py:boundary --workdir=runs/losses_2d/boundary
Every loss by such runs: python benchmarks/losses.py (docs/losses.md).
"""

import pathlib

from jaxseg.build import lookup
from jaxseg.config.file import load_config

DICE = dict(batch=True, include_background=False)

# the losses that the literature trains alone stand alone, the others beside what theirs adds
LOSSES = {
  "cross_entropy": dict(cross_entropy=dict()),
  "weighted_cross_entropy": dict(cross_entropy=dict(class_weights="inverse_sqrt")),
  # the gaps between vessels are most of the background: without class weights, w_c in the paper,
  # the shortest way is to find no vessel
  "border_cross_entropy": dict(
    cross_entropy=dict(weight_map="border", class_weights="inverse_sqrt")
  ),
  # alone it never leaves the hardest voxels; Ma et al. (MedIA 2021) add Dice. Theirs is a tenth of
  # the voxels for 1000 epochs: in a short run the worst tenth is long best served by a probability
  # of 0.5 everywhere (ln 2)
  "topk_cross_entropy": dict(topk_cross_entropy=dict(share=0.5), dice=DICE),
  "focal": dict(focal=dict(gamma=2.0)),
  "normalized_focal": dict(normalized_focal=dict(alpha=0.5)),
  "dice": dict(dice=DICE),
  "squared_dice": dict(dice=dict(**DICE, squared=True)),
  "generalized_dice": dict(generalized_dice=dict(batch=True)),
  "tversky": dict(tversky=dict(**DICE, alpha=0.3, beta=0.7)),
  "focal_tversky": dict(focal_tversky=dict(**DICE, alpha=0.3, beta=0.7)),
  "jaccard": dict(jaccard=DICE),
  # as in the paper after cross entropy: alone, whoever is not sure of vessels is best served by a
  # probability just below 0.5
  "lovasz_softmax": dict(
    cross_entropy=dict(weight=dict(name="linear", start=1.0, end=0.0)),
    lovasz_softmax=dict(weight=dict(name="linear", start=0.0, end=1.0)),
  ),
  # as many iterations as the widest vessel's radius in voxels; what is even, as the black around
  # the retina, has no skeleton: without cross entropy it may end as vessel
  "cldice": dict(cross_entropy=dict(), cldice=dict(iterations=8, alpha=0.3, batch=True)),
  "exponential_log": dict(exponential_log=dict(batch=True)),
  "combo": dict(combo=dict(batch=True)),
  "dice_cross_entropy": dict(cross_entropy=dict(), dice=DICE),
  "dice_focal": dict(focal=dict(gamma=2.0), dice=DICE),
  # Kervadec's "increase", to a tenth: around thin vessels distances reach the size of the patch,
  # and with a weight of one the shortest way is to find none
  "boundary": dict(
    generalized_dice=dict(batch=True),
    boundary=dict(weight=dict(name="linear", start=0.01, end=0.1)),
  ),
  # its values are squares of distances: this weight makes it as large as Dice at the start
  "hausdorff": dict(dice=DICE, hausdorff=dict(weight=0.001)),
  "total_variation": dict(cross_entropy=dict(), dice=DICE, total_variation=dict(weight=0.1)),
  "entropy": dict(cross_entropy=dict(), dice=DICE, entropy=dict(weight=0.1)),
  # what searches of losses begin with (configs/search.py): curves that bend nothing, and 0
  "surrogate": dict(surrogate=dict(include_background=False)),
  "constant": dict(cross_entropy=dict(), dice=DICE, constant=dict()),
  # neighbours of like brightness, in units of the image's deviation
  "gated_crf": dict(
    cross_entropy=dict(),
    dice=DICE,
    gated_crf=dict(weight=0.1, radius=2, kernels=(dict(position=2.0, intensity=0.3),)),
  ),
  # of the labels nothing but the box around all vessels of a patch: what is learnt from that is
  # how many voxels they are
  "boxes": dict(
    box_emptiness=dict(),
    box_tightness=dict(weight=0.1),
    box_size=dict(weight=0.1, bounds=(0.02, 0.2)),
  ),
  # vessels take 2 to 20 % of a patch that isn't all background
  "size_constraint": dict(
    cross_entropy=dict(), dice=DICE, size_constraint=dict(bounds=(None, (0.0, 0.2)))
  ),
}


def annotate(config):
  """Lets training see of the labels no more than a loss of boxes looks at."""
  if "box_size" in config.loss:
    config.data.fields = dict(box=dict(name="label_boxes"))
    config.data.annotation = "box"
    config.augment.spatial.rotation = 0.0


def get_config(loss="dice_cross_entropy"):
  config = load_config(f"{pathlib.Path(__file__).with_name('networks_2d.py')}:unet")
  config.loss = lookup(LOSSES, loss, "loss")
  annotate(config)
  # half as wide and longer at the same cost: after 200 steps whether vessels are found at all hangs
  # on the seed, for those that stay at "no vessel" longest
  config.network.widths = (8, 16, 32, 64)
  config.steps = 500
  return config
