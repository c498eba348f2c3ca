"""What an API answered: data, or an error in words; nothing else of the tool reads an answer's body."""

import ast

import pytest

from osbox import answers
from osbox.errors import Error
from tests.fakecloud import DOWN, response
from tests.test_layers import MODULES, SOURCE


def test_an_object() -> None:
    assert answers.read(response(200, '{"nodes": []}'), "x") == {"nodes": []}


def test_a_list() -> None:
    assert answers.rows(response(200, '[{"name": "a"}]'), "x") == [{"name": "a"}]
    assert answers.rows(response(200, "[]"), "x") == []


@pytest.mark.parametrize("body", ["{}", "[1]", "", "<html>of a proxy</html>"])
def test_no_list(body: str) -> None:
    with pytest.raises(
        answers.SilentError, match="Swift did not list: HTTP 200, and no JSON list of objects"
    ):
        answers.rows(response(200, body), "Swift did not list")


def test_a_refused_list() -> None:
    with pytest.raises(Error, match="Swift did not list: HTTP 403"):
        answers.rows(response(403, "[]"), "Swift did not list")


@pytest.mark.parametrize(
    ("status", "body", "silent", "said"),
    [
        (*DOWN, True, "HTTP 503"),
        (500, '{"error": "1020"}', True, "HTTP 500"),
        (404, '{"error": {"message": "no such node"}}', False, "HTTP 404"),
        (401, "", False, "HTTP 401"),
        (200, "<html>of a proxy</html>", True, "no JSON object"),
        (200, "[]", True, "no JSON object"),
        (200, "", True, "no JSON object"),
    ],
)
def test_a_refusal(status: int, body: str, silent: bool, said: str) -> None:
    with pytest.raises(Error, match=f"Ironic did not tell the time: .*{said}") as error:
        answers.read(response(status, body), "Ironic did not tell the time")
    assert isinstance(error.value, answers.SilentError) == silent
    assert error.value.evidence == body
    assert error.value.hint


def test_nothing_else_reads_answers() -> None:
    """`answer.json()["…"]` of a refusal is a KeyError, which was told as a defect of ours."""
    places = [
        f"{path.relative_to(SOURCE)}:{call.lineno}"
        for path in MODULES
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "json"
    ]
    assert [place.partition(":")[0] for place in places] == ["answers.py"], places
