"""Clones of requests, on their way to the shadow.

`mirror` decides which of the chosen requests leave; `shadow` is one model's account of what stands against it:
`budget` (with its `ledger`), `deduplicate`, the breaker, the memory that is `held`. `clone` is one request to the
shadow.
"""
