"""The part in the request's path: serve, mirror, capture; beside it the emitter: extract, pseudonymise, deliver.

The way of one request: `client` (a client's connection) reads it, `exchange` carries it to `upstream` and the answer
back, `mirror` sends the clone, `capture` hands both to the `emitter` package's process. `supervisor` keeps the
processes, `layout` and `counters` what they count.
"""
