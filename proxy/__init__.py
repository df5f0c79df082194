"""The part in the request's path: serve, mirror, capture; beside it the emitter: extract, pseudonymise, deliver.

Rooms, each importing only what stands before it: `http` (the protocol, and connections to models), `routing` (who
answers a request), `shadowing` (its clone), `traffic` (the worker process: a request's way and back). Beside them
`emitter` (from captured bytes to Kafka) and `supervision` (the parent of all these processes).

What they share stands here: `sampling` chooses requests; `record` and `capture` hand finished exchanges from a worker
to the emitter in `frames`; `layout` and `counters` are the memory in which all of them count; `overload` says what a
worker that cannot keep up leaves out; `listeners` are the sockets, `keys` the secret, `instructions` what a process
is started with.
"""
