"""Thin Ray adapters around the library, and the online loop that connects them.."""
