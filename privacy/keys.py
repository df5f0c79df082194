"""The key file: the secret under which requests are sampled and strings are hashed, made at the first start."""

from __future__ import annotations

import contextlib
import os
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from configuration import Configuration
from lifecycle.refusal import Refusal

FILE_NAME: Final = "key.json"


class Former(msgspec.Struct, frozen=True):
    """The key before this one, as long as profiles that were made under it are in use."""

    key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key_id!r})"  # a secret must not get into a log by a careless format

    def derived(self, purpose: str) -> bytes:
        """32 bytes for one purpose; knowing one purpose's key tells nothing of another's."""
        return blake2b(purpose.encode(), digest_size=32, key=bytes.fromhex(self.secret)).digest()


class Keys(msgspec.Struct, frozen=True, omit_defaults=True):
    """The secret and its name. Replicas that share the file choose the same requests and hash alike."""

    key_id: str
    secret: str
    former: Former | None = None

    __repr__ = Former.__repr__

    def derived(self, purpose: str) -> bytes:
        """32 bytes for one purpose; knowing one purpose's key tells nothing of another's."""
        return Former(self.key_id, self.secret).derived(purpose)

    def named(self, key_id: str | None) -> Former | None:
        """The key of that name, if it is one of the two that are accepted."""
        both = (Former(self.key_id, self.secret), self.former)
        return next((key for key in both if key is not None and key.key_id == key_id), None)

    def for_profile(self, key_id: str | None) -> Former:
        """The key to hash with beside a profile that was made under `key_id`: that one if accepted."""
        return self.named(key_id) or Former(self.key_id, self.secret)


def keys_of(configuration: Configuration) -> Keys:
    """The keys of a proxy: of `proxy.key_file`, which must be there, else of the state directory. Raises `Refusal`."""
    if configuration.proxy.key_file is not None:
        return load(Path(configuration.proxy.key_file), "proxy.key_file")
    return load_or_make(Path(configuration.state_dir))


def load(path: Path, setting: str) -> Keys:
    """The keys in a file. Raises `Refusal`, one line."""
    try:
        return _read(path)
    except OSError as error:
        raise Refusal(f"{setting}: {path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Refusal(
            f'{setting}: {path} is not a key file; it must be like {{"key_id": "k1", "secret": "<32 bytes in hex>"}}'
        ) from None


def load_or_make(state_dir: Path) -> Keys:
    """The keys of this state directory. Two processes that start at once end up with the same file."""
    path = state_dir / FILE_NAME
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        keys = _read(path)
    except OSError as error:
        raise Refusal(f"state_dir: {path} cannot be made or read: {(error.strerror or str(error)).lower()}") from None
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Refusal(f"state_dir: {path} is not a key file; restore it, or remove it for a new key") from None
    return keys


def _read(path: Path) -> Keys:
    keys = msgspec.json.decode(path.read_bytes(), type=Keys)
    both: list[Keys | Former] = [keys, *([keys.former] if keys.former else [])]
    for key in both:
        if not 16 <= len(bytes.fromhex(key.secret)) <= 64 or not key.key_id:
            raise ValueError("the secret must be 16 to 64 bytes in hexadecimal")
    if keys.former is not None and keys.former.key_id == keys.key_id:
        raise ValueError("the former key must have another name")
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
