"""From products to scored creatives: the pools of workers, their health and size, and the pipeline that takes a shard through them. It
may import `weights`, `telemetry` and `cluster`. It must never know of rounds being learned, of pairs or of the ledger: that is the
loop's.
"""
