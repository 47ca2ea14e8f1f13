"""What a run tells of itself: meters, snapshots, Prometheus, the live file, the terminal, logs and trackers, and the summary. It may
import `cluster`. It must never change what it measures.
"""
