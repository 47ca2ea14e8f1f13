"""Load of the service: how many requests are let in, how they are batched, and how a stuck model is noticed."""
