"""A stateful double of Stripe Billing, as pure functions: (world, action, time) -> (world, events).

Three rooms, one direction:

    model, world      what exists: frozen objects, and the one step in which they may change
    engine            what may happen: actions of people, and Stripe's own clockwork
    render            how it looks: every body in the shape of API version 2026-10-28.endive

Nothing here reads a clock, draws an unseeded random number or touches a network. Time is Stripe's own
unit, whole seconds since 1970, and is always passed in. Money is integer minor units.
"""
