"""Pages and pictures for people: the report of a run, of a click log, of a reward model, and the charts in them."""
