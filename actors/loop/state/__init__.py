"""The plain state of a run: which products a round admits, what became of each admission, and the pairs that wait to be learned.

A checkpoint holds all of it. It must never call Ray, own a task or read a clock.
"""
