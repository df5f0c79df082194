"""HTTP/1.1 as it is spoken here, and the connections to models.

`headers` says what names mean, `request` and `answer` what is taken of a head and passed on; `wire` writes it. An
`upstream` connection asks a model, and a `pool` keeps those connections, to one of the `addresses` whose `names` are
looked up.
"""
