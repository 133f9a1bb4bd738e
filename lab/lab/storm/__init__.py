"""The storm against Millrace's own services: they take hostile deliveries, and answer what they know."""
