"""A run on disk: its folder, lock, ledger, events, summary, logs and history. What other parts write and read of a run goes through here.
It must never start anything.
"""
