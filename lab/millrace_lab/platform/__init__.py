"""The account around it all: events, webhook endpoints, event destinations, test clocks, settings."""
