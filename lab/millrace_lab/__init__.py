"""A stateful double of Stripe Billing.

Rooms, each standing on those below it:

    commands                     what a person types
    storm                        companies, hostile schedules, the comparison and the shrinker
    edge, delivery               Stripe's HTTP API and the page; webhooks that misbehave on purpose
    api, clockwork               one request; the passing of time
    composition                  the three visible lists: operations, what time does, who reacts to what
    hosted, platform             Checkout and the portal; events, endpoints, clocks, the account
    versions                     a body as an older API version shows it
    subscriptions, invoices, usage, payments, customers, catalog
    account                      what exists, and the step in which it may change

Every object is kept once, as a body in the shape of the newest API version; keys that begin with an
underscore are ours and are never shown. Older versions, expansions and events are views of that body.

Nothing below `edge` and `delivery` awaits, reads a clock, draws an unseeded random number or touches a
network. Time is Stripe's own unit, whole seconds since 1970. Money is integer minor units.
"""

API_VERSION = "2026-10-28.endive"
