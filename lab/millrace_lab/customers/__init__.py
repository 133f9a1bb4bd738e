"""Who buys: customers, their balances, tax ids and entitlements."""
