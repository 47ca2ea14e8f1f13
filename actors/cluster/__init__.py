"""The Ray cluster that everything runs on: connecting to it, its token, its capacity, what Ray says of dead workers, waiting for
resources, and tasks that fail. It imports no other room. It must never know what runs on the cluster.
"""
