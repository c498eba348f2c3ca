"""SHA256SUMS is what sha256sum writes and reads."""

from pathlib import Path

import pytest

from osbox import checksums, run


def test_it_is_what_sha256sum_writes(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"x")
    written = run.run(["sha256sum", "a b"], cwd=tmp_path).out
    assert checksums.render(checksums.parse(written)) == written
    assert list(checksums.parse(written)) == ["a b"]


@pytest.mark.parametrize("text", ["a\n", "  a\n", f"{'0' * 63}  a\n", f"{'0' * 64} a\n", f"{'0' * 64}  \n"])
def test_what_it_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        checksums.parse(text)
