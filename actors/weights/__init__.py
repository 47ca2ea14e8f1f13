"""Policy weights on their way from the learner to whoever serves them: what is published, how tensors travel, and the proof that they
arrived. It imports the library alone. It must never know who learns or who serves.
"""
