"""Preference objectives: pure functions of summed log-probs."""
