"""Ray Serve adapters: ingress -> policy -> renderer -> scorer."""
