"""Ray Serve adapters around `caig_rl.serving`: ingress, policy, renderer and scorer as deployments, and their life from start to
promotion. It may import `weights`, `checkpoints` and `cluster`. It must never import the training loop.
"""
