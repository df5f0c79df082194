"""What the tests stand on: real parts, and waiting without sleeping."""
