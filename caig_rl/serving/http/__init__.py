"""The HTTP surface: FastAPI over the service."""
