"""Which name a process has in the group."""

import os

from exporter.reading.seat import Seat


def crash(seat):
    """The system closes what the process had open."""
    os.close(seat._descriptor)


def test_a_seat_is_one_process_s_and_comes_back_to_the_next(tmp_path):
    """Two at a time have two; a third gets that of the one that crashed."""
    first, second = Seat("kafka:9092", tmp_path), Seat("kafka:9092", tmp_path)
    assert first.name
    assert second.name
    assert first.name != second.name
    name = first.name
    crash(first)
    assert Seat("kafka:9092", tmp_path).name == name


def test_folders_that_share_nothing_give_different_names(tmp_path):
    """As two containers with the name of their host."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    one, other = (Seat("kafka:9092", folder) for folder in folders)
    assert one.name != other.name


def test_clusters_have_their_own_seats(tmp_path):
    """An exporter of another cluster takes nobody's place in this one."""
    one = Seat("kafka:9092", tmp_path)
    name = one.name
    other = Seat("elsewhere:9092", tmp_path)
    crash(one)
    assert other.name != name
    assert Seat("kafka:9092", tmp_path).name == name


def test_nonsense_in_the_file_is_written_anew_and_a_link_is_not_followed(tmp_path):
    """Anybody may write to the folder."""
    one = Seat("kafka:9092", tmp_path)
    (path,) = tmp_path.iterdir()
    crash(one)
    path.write_bytes(b"\xff" * 300)
    again = Seat("kafka:9092", tmp_path)
    assert again.name
    assert again.name.isascii()
    again.leave()
    assert not path.exists()
    (tmp_path / "target").touch()
    path.symlink_to(tmp_path / "target")
    assert Seat("kafka:9092", tmp_path).name is None


def test_without_a_folder_there_is_no_seat(tmp_path):
    """A crash then costs a session's length."""
    assert Seat("kafka:9092", tmp_path / "none").name is None
