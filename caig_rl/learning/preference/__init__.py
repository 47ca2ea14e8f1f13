"""Stage C, preference optimisation: the learner of one rank, the sequences of a pair, the product-centric negatives, and who trains on
which pairs.
"""

from caig_rl._moved import moved_names

__getattr__ = moved_names(__name__)
