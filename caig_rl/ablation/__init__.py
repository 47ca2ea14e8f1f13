"""Arms x seeds: the plan of an ablation, the record of each finished cell, and the table, curve, gallery and page made of the records.

It knows no cluster: `actors/launch/ablate.py` runs the cells.
"""
