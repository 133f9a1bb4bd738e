"""Money that moves: payment methods, intents, charges, refunds, disputes, the balance and payouts."""
