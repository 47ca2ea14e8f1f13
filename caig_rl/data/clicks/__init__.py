"""From click logs to labelled pairs, in bounded memory.

    reading (Parquet, CSV, JSONL in batches) -> checks (faulty rows by reason) -> totals (one row an arm)
        -> sample_ratio (tests whose traffic was not split as designed are set aside) -> creatives (impression floor, shrinkage)
        -> pairs (same-product pairs, the probability of their order, policies) -> pipeline (all of it, written atomically)

A *test* is what traffic was split in; without a `test` column it is the product. An *arm* is what it was split between; without an
`arm` column it is the creative. Comparisons are made inside one test only: between tests, time and audience differ too.
"""
