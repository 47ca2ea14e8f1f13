"""The embedded models: how they are built from the click world, and their weights as package data."""
