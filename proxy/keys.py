"""The key file: the secret under which requests are sampled and strings are hashed, made at the first start."""

from __future__ import annotations

import contextlib
import os
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from lifecycle.refusal import Refusal

FILE_NAME: Final = "key.json"


class Keys(msgspec.Struct, frozen=True):
    """The secret and its name. Replicas that share the file choose the same requests and hash alike."""

    key_id: str
    secret: str

    def derived(self, purpose: str) -> bytes:
        """32 bytes for one purpose; knowing one purpose's key tells nothing of another's."""
        return blake2b(purpose.encode(), digest_size=32, key=bytes.fromhex(self.secret)).digest()


def load_or_make(state_dir: Path) -> Keys:
    """The keys of this state directory. Two processes that start at once end up with the same file."""
    path = state_dir / FILE_NAME
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        keys = msgspec.json.decode(path.read_bytes(), type=Keys)
        if not 16 <= len(bytes.fromhex(keys.secret)) <= 64 or not keys.key_id:
            raise ValueError("the secret must be 16 to 64 bytes in hexadecimal")
    except OSError as error:
        raise Refusal(f"state_dir: {path} cannot be made or read: {(error.strerror or str(error)).lower()}") from None
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Refusal(f"state_dir: {path} is not a key file; restore it, or remove it for a new key") from None
    return keys


def _make(path: Path) -> None:
    secret = Keys(f"k{secrets.token_hex(4)}", secrets.token_hex(32))
    draft = path.with_name(f".{FILE_NAME}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(secret))
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):  # another process was first: its key is the key
            os.link(draft, path)
    finally:
        draft.unlink()
