"""A worker: what stands in the request's path, and nothing else does.

The way of a request: `door` accepts it, `client` (a connection) reads it, `exchange` carries it to a version and the
answer back; after an upgrade a `tunnel` takes over. `plane` is what all exchanges of a worker share, `data_plane` the
same with its clock, `worker` is the process.
"""
