"""caig-rl: ad creatives that people click, optimised online by reinforcement learning."""

__version__ = "0.1.0"
