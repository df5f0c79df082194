"""The emitter, a process beside the workers: what they captured becomes events in Kafka.

In the order of the way: `extract` reads instances out of bodies, `pseudonym` hashes what must not leave in clear,
`queue` holds encoded events, `deliver` hands them to Kafka.
"""
