"""HTTP/1.1 as it is spoken here, and the connections to models.

`heads` says what is taken and passed on, `wire` writes it; an `upstream` connection asks a model, and a `pool` keeps
those connections, to one of the `addresses` whose `names` are looked up.
"""
