"""From a product photo to a finished creative: loading, cut-out, placement, controls, composition, usability, views."""
