"""Measures policies on held-out products through the pools that train them: the initial and the final policy, and the best known prompts.
It may import `rollout` and the rooms below. It must never change a policy or the state of a run.
"""
