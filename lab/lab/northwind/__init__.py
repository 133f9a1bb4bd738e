"""Northwind Boards: the small company of the demo, which lives on the double of Stripe.

plans       what it sells
people      who its customers are in person
shop        the account, and what customers do, each in a line
personas    the kinds of customers, one short life each
quarter     91 days of all of them
truth       what must be true at the end, read from the account and never from its events
stories     short lives of one customer, for tests of order
"""
