"""What is subscribed to: subscriptions, items, schedules, prorations and the statuses between."""
