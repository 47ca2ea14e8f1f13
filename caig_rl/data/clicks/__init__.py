"""From click logs to labelled pairs, in bounded memory.

    reading (opens the files; readers: Parquet, CSV, JSONL in batches) -> checks (faulty rows by reason) -> totals (one row an arm)
        -> sample_ratio (tests whose traffic was not split as designed are set aside) -> creatives (impression floor, shrinkage)
        -> pairs (same-product pairs, the probability of their order, policies) -> pipeline (all of it, written atomically)
    picture_file (pictures that a log holds as bytes, copied in a second reading)

A *test* is what traffic was split in; without a `test` column it is the product. An *arm* is what it was split between; without an
`arm` column it is the creative. A test that spans several products counts as one for each. Comparisons are made inside one test only:
between tests, time and audience differ too.
"""
