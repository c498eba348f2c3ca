"""When a rotation of the tokens' keys is held back."""

import pytest

from osbox.cloud.rotation import Keys

HOUR = 3600.0
VALID = 49 * HOUR


@pytest.mark.parametrize(
    ("keys", "kept", "last", "hours"),
    [
        (2, 3, 0.1, 0),  # made a moment ago: none is dropped
        (3, 3, 1, 48),
        (3, 3, 48, 1),
        (3, 3, 49, 0),
        (3, 6, 0.1, 0),  # more are kept, and there is room
        (6, 6, 2, 47),
    ],
)
def test_too_early(keys: int, kept: int, last: float, hours: float) -> None:
    assert Keys(keys, kept, last * HOUR, VALID).too_early == hours * HOUR
