"""The rules of the relay, pure: where it stands, what a page becomes, and what an account of it all shows."""
