"""Pages that Stripe hosts: Checkout and the customer portal, as stand-ins that a browser can click through."""
