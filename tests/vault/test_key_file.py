"""The key file: made once, readable by its owner only, whole at any moment, and what it leaves behind."""

import base64
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quart_app.errors import DataError, SettingsError
from quart_app.vault.key_file import KeyFile
from quart_app.vault.keys import Key, keys_in

KEY = bytes(range(32))
ID = "[0-9a-f]" * 8


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    made = KeyFile(tmp_path / "switchboard.key")
    made.make()
    return made


def ids(file: KeyFile) -> list[bytes]:
    return [key.id for key in KeyFile(file.path).read()]


def names(file: KeyFile) -> list[str]:
    return sorted(path.name for path in file.path.parent.iterdir())


def test_it_is_made_once_for_its_owner_only(file: KeyFile) -> None:
    before = file.path.read_bytes()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert len(base64.b64decode(before)) == 32
    file.make()
    assert file.path.read_bytes() == before
    assert names(file) == ["switchboard.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_one_that_others_can_reach_is_refused(file: KeyFile, mode: int) -> None:
    file.path.chmod(mode)
    with pytest.raises(DataError, match=f"others can read the key file: chmod 600 {file.path}"):
        file.read()


@pytest.mark.parametrize("content", [b"", b"short", base64.b64encode(KEY[:31]), b"\xff" * 44, b"!" * 44])
def test_one_that_holds_no_key_is_refused_and_kept(file: KeyFile, content: bytes) -> None:
    file.path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"{file.path} is not the base64 of 32 bytes"):
        file.read()
    file.make()
    assert file.path.read_bytes() == content


def test_one_that_is_a_folder_or_has_no_place_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    with pytest.raises(DataError, match="cannot read the key file"):
        KeyFile(folder).read()
    with pytest.raises(DataError, match="cannot make the key file"):
        KeyFile(tmp_path / "nowhere" / "key").make()


def test_it_has_another_mark_once_it_has_other_text_and_none_once_it_is_gone(file: KeyFile) -> None:
    before = file.mark()
    assert KeyFile(file.path).mark() == before
    file.read()
    assert file.mark() == before
    file.add()
    assert file.mark() not in (None, before)
    file.path.unlink()
    assert file.mark() is None


def test_a_new_key_comes_first_and_the_old_one_stays(file: KeyFile) -> None:
    (old,) = ids(file)
    file.add()
    new, kept = ids(file)
    assert (kept, new != old) == (old, True)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_key_that_left_is_kept_under_its_id(file: KeyFile) -> None:
    (old,) = ids(file)
    file.add()
    (kept,) = file.retire()
    assert kept == file.path.with_name(f"switchboard.key.{old.hex()}")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert len(ids(file)) == 1
    found = file.old(old)
    assert found is not None
    assert found.id == old
    assert file.old(ids(file)[0]) is None
    assert names(file) == ["switchboard.key", kept.name]
    assert file.retire() == []


def test_a_file_under_another_key_s_id_is_not_taken_for_it(file: KeyFile) -> None:
    file.old_path(b"\1\2\3\4").write_text(file.path.read_text())
    file.old_path(b"\1\2\3\4").chmod(0o600)
    assert file.old(b"\1\2\3\4") is None
    file.old_path(ids(file)[0]).write_text(file.path.read_text())
    file.old_path(ids(file)[0]).chmod(0o644)
    assert file.old(ids(file)[0]) is None, "others can read it"


def test_two_rotations_at_once_are_refused_and_one_after_the_other_not(file: KeyFile) -> None:
    with file.alone(), pytest.raises(DataError, match="being rotated already"), KeyFile(file.path).alone():
        pass
    with file.alone():
        pass


def test_a_link_to_the_file_stays_a_link(file: KeyFile, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "key"
    link.parent.mkdir()
    link.symlink_to(file.path)
    linked = KeyFile(link)
    (old,) = ids(file)
    linked.add()
    linked.retire()
    assert link.is_symlink()
    assert ids(linked) == ids(file) != [old]
    assert linked.old(old) is not None


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "gone" / "key")
    for change in (file.add, file.retire):
        with pytest.raises(DataError, match=r"cannot read the key file .*: No such file or directory"):
            change()


def test_one_that_cannot_be_changed_need_not_be_held_and_says_so_when_it_is_to_be(file: KeyFile) -> None:
    file.path.with_name("switchboard.key.lock").mkdir()
    file.path.with_name("switchboard.key.new").mkdir()
    before = file.path.read_text()
    with file.alone(), pytest.raises(DataError, match=f"cannot write beside the key file {file.path}: "):
        file.add()
    assert file.path.read_text() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of others to rotate")
def test_the_owner_of_the_file_is_the_owner_of_all_that_rotation_writes(file: KeyFile) -> None:
    os.chown(file.path, 65534, 65534)
    with file.alone():
        file.add()
        file.retire()
    assert {(path.stat().st_uid, path.stat().st_gid) for path in file.path.parent.iterdir()} == {(65534, 65534)}
    assert len(names(file)) == 3


WRITES = """
import sys
from pathlib import Path
from quart_app.vault.key_file import KeyFile
file = KeyFile(Path(sys.argv[1]))
while True:
    print("next", flush=True)
    {work}
"""


@pytest.mark.parametrize("work", ["file.add(); file.retire()", "file.path.unlink(missing_ok=True); file.make()"])
def test_a_kill_at_any_moment_leaves_a_whole_file(file: KeyFile, work: str) -> None:
    """Ten kills, each after another number of rounds; between the two of a round there may be no file at all."""
    for rounds in range(1, 11):
        command = [sys.executable, "-c", WRITES.format(work=work), str(file.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(rounds):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        if file.path.exists():
            text = file.path.read_text()
            assert text.endswith("\n")
            assert 1 <= len(keys_in(text, "it")) <= 2
        else:
            assert "unlink" in work
        for kept in file.path.parent.glob(f"switchboard.key.{ID}"):
            assert Key(keys_in(kept.read_text(), "it")[0]).id.hex() == kept.suffix[1:]


def test_what_a_kill_left_half_written_is_written_anew(file: KeyFile) -> None:
    (old,) = ids(file)
    file.path.with_name("switchboard.key.new").write_text("half a k")
    file.add()
    assert ids(file)[1:] == [old]
    assert names(file) == ["switchboard.key"]


def changes() -> list[Callable[[KeyFile], object]]:
    return [KeyFile.add, KeyFile.retire]


@pytest.mark.parametrize("change", changes())
def test_a_change_never_writes_over_the_file_that_is_read(file: KeyFile, change: Callable[[KeyFile], object]) -> None:
    file.add()
    with file.path.open() as reader:
        before = file.path.read_text()
        change(file)
        assert reader.read() == before
    assert file.path.read_text() != before
