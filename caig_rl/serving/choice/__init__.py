"""Which creative a visitor sees: the A/B arm, Thompson sampling within it, and the experiment that compares arms."""
