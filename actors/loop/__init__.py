"""The controller of one run: admits rounds, turns rolled-out shards into preference pairs, has them learned, and keeps the state that a
checkpoint holds. It may import `rollout`, `learner`, `evaluation` and the rooms below them. It must never touch pixels, print, or block
the event loop.
"""
