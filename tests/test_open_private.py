"""Files for us alone: what others may have planted is not opened."""

import os

import pytest

from pushgate import open_private


def test_a_file_of_ours_is_made_for_us_alone_and_opened_again(tmp_path):
    path = tmp_path / "mine"
    for _ in range(2):
        fd = open_private(path, os.O_RDWR | os.O_CREAT)
        assert not os.get_inheritable(fd)
        os.close(fd)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("plant", "why"),
    [
        (lambda path, target: path.symlink_to(target), "symbolic link"),
        (lambda path, target: path.symlink_to(target.with_name("not there")), "symbolic link"),
        (lambda path, _: os.mkfifo(path), "not a regular file"),
        (lambda path, _: path.symlink_to("/dev/null"), "symbolic link"),
    ],
)
def test_a_planted_link_or_pipe_is_refused_and_its_target_left_alone(tmp_path, plant, why):
    target, path = tmp_path / "target", tmp_path / "planted"
    target.write_text("precious")
    plant(path, target)
    with pytest.raises(OSError, match=why) as caught:
        os.close(open_private(path, os.O_RDWR | os.O_CREAT))
    assert caught.value.filename == str(path)
    assert target.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["planted", "target"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_file_of_another_user_is_refused(tmp_path):
    path = tmp_path / "theirs"
    path.touch()
    os.chown(path, 65534, -1)
    with pytest.raises(PermissionError, match="another user"):
        open_private(path, os.O_RDWR)
