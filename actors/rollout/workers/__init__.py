"""The actors of the pools: policy (vLLM), renderer (diffusers) and scorer (reward model). Each wraps one model of the library. A worker
must never decide anything about the run: it answers a shard.
"""
