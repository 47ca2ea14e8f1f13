"""The service's own logic: what a request may hold, who asks, what is shown to whom, and what was clicked. It knows no cluster."""
