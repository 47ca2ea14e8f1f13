"""What goes in: the catalog, click logs, instruction wordings."""
