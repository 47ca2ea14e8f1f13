"""A small Bayesian linear model of (product, prompt) -> reward. It learns from every scored creative of a run and knows no cluster."""
