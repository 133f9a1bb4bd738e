"""The demo: a quarter of a small company through every real process of Millrace, proved at the end."""
