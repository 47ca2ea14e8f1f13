"""Impressions and clicks: signed ids, checks, the durable log, and counts."""
