"""A round is learned and its weights go live; a lost learner group is re-formed. It imports the state and the rooms below the loop."""
