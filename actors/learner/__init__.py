"""The learner group: a Ray actor a rank around the library's `PreferenceLearner`, all called alike, and the detection of ranks that die
or hang. It may import `weights`, `telemetry` and `cluster`. It must never decide what is learned or when: the loop calls it.
"""
