"""The golden inputs of the fact sheets (systems.md, Appendix G), logits channels last."""

import numpy as np

# channel by channel as the fact sheet prints them, then channels last
A_LOGITS = np.array([[2, -1], [0.5, -3]], np.float32)[None, ..., None]
A_LABELS = np.array([[1, 0], [1, 0]])[None]
B_LOGITS = np.stack([[[1, 0], [-1, 2]], [[0.5, 2], [0, -1]], [[-0.5, 0], [1.5, 0]]], -1)
B_LOGITS = B_LOGITS.astype(np.float32)[None]
B_LABELS = np.array([[0, 1], [2, 1]])[None]
# "T", as a second network's: B's channels reversed
T_LOGITS = B_LOGITS[..., ::-1].copy()
