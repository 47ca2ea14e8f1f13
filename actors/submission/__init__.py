"""Runs as Ray jobs on a cluster elsewhere: what is sent, and following the job to its end. It may import `cluster`. It must never import
the loop: the job does.
"""
