"""What was achieved, as numbers: policies compared on the same products, reward models against the noise of their labels, A/B tests."""
