"""Lives of subscriptions and invoices, told as tables."""
