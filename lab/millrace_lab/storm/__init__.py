"""The storm: companies live on the double, their events arrive badly, and a receiver is asked what it knows.

companies, lives     who acts, and how          arrivals     what reaches the receiver, in which order
oracle, comparing    what must be true          hunting      the receiver judged, and a difference shrunk
shrinking, simpler   the fewest deliveries      story, writing    the difference for people, and as a test

The receiver is anybody's: see `hunting.System`.
"""
