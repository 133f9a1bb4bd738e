"""What is measured: meters and their events, credit grants and how they are drawn."""
