"""The lab: a believable Stripe company, bad deliveries, and a local stack of real parts to run them on."""
