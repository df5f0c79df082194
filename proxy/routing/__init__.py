"""Who answers a request.

`plan` is one model as a worker serves it, `serving` one of its versions, `fallback` what answers instead. `active`
decides what is in force, `active_file` follows the file that says so, `probe` tries a version before it gets traffic,
and `orders` is the supervisor's side of all that. `breaker` stops asking what keeps failing.
"""
