"""Reward models of every form: the per-image scorer, the paper's side-by-side form, trained baselines, and zero-shot judges, behind one
interface.
"""
