"""What a run achieved: statistics, the ledger of admissions, the run folder, the summary and the report."""
