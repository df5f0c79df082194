"""The emitter, a process beside the workers: what they captured becomes events in Kafka.

In the order of the way: `extract` reads instances out of bodies, `pseudonym` hashes what must not leave in clear,
`intake` makes events of it, `queue` holds them as Kafka's own batches (`batch`), `spool` keeps on disk (`segments`)
what Kafka does not take at once, `deliver` hands them to it (`link`).
"""
