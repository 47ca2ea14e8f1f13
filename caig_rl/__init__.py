"""caig-rl: ad creatives that people click, optimised online by reinforcement learning."""

import sys

from caig_rl._moved import MovedModules

__version__ = "0.1.0"

sys.meta_path.append(MovedModules())
