"""Fault injection: breaks a running loop by a seeded plan and records what became of each fault. It may import every room of a run.
Nothing but the command line and the benchmarks imports it.
"""
