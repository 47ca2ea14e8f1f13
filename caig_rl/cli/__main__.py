"""`python -m caig_rl.cli`."""

from caig_rl.cli import app

app()
