"""Creatives of the service: what may be uploaded, what the models are asked, what is stored, and what may be shown."""
