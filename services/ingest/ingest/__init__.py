"""Ingest: Stripe's webhooks, authenticated, stored whole and handed on, before Stripe hears "200".

- A 2xx means that the event and its outbox row are committed with synchronous_commit on (I1).
- An event is stored once and published once, however often and through however many doors it arrives.
- Nothing in a body is believed, parsed or looked at before the signature over its raw bytes is good.
- What Stripe signed is kept byte for byte, but for card numbers; an unknown type or version is kept and published
  like the rest.
- Nothing personal rests or leaves in the clear: it is sealed under its customer's key, which can be destroyed (I8).
- No input is answered with a redirect or with 500.
"""
