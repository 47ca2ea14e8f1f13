"""Reward models of every form: the per-image scorer, the paper's side-by-side form, trained baselines, and zero-shot judges, behind one
interface.
"""

from caig_rl._moved import moved_names

__getattr__ = moved_names(__name__)
