"""`make test` checks the stack's files; the test that needs it running belongs to `make stack-test`."""

import os

collect_ignore = [] if os.environ.get("SHADOWDRIFT_STACK_TEST") == "1" else ["test_running_stack.py"]
