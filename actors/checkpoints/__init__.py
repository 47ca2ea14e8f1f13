"""Checkpoints of a whole run, complete or absent, and what a run that resumes must share with the one that wrote them. It imports the
library alone. It must never call a worker.
"""
