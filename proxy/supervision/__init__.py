"""The supervisor, parent of workers and emitter.

A `generation` is the processes that serve one configuration, each started again by a `keeper`; `totals` and
`crossing` account for those that died, `exposition` tells all of it, `supervisor` decides.
"""
