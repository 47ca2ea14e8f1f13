"""The click world: procedural products and scenes, and shoppers with hidden tastes who judge pixels."""
