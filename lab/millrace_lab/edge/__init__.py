"""HTTP: the API as Stripe speaks it, and the page at /."""
