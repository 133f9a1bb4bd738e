"""Companies that live through the double, the worst order of deliveries, and the smallest failing one."""
