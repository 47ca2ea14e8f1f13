"""Commands that run the loop or measure its result from this terminal: `caig-rl train`, `caig-rl evaluate policy`, and what SIGTERM does
to them. It may import every room that a run needs. Nothing but the command line and the benchmarks imports it.
"""
