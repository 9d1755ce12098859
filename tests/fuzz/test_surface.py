"""Our own surface: whatever is sent to a route or a tool is answered as its document says."""

from hypothesis import given

from tests.fuzz.openapi import CALLERS, Surface
from tests.fuzz.tools import Tools
from tests.properties.home import Home
from tests.properties.running import examples


def test_every_route_answers_as_the_openapi_document_says(home: Home) -> None:
    surface = Surface(home)

    @examples(200)
    @given(case=surface.cases(), who=CALLERS)
    def answers_so(case, who):
        surface.check(case, who)

    answers_so()
    assert _broken(home) == []


def test_every_tool_answers_whatever_arguments_it_gets(home: Home) -> None:
    tools = Tools(home)

    @examples(150)
    @given(call=tools.calls())
    def answers_so(call):
        tools.check(*call)

    answers_so()
    assert _broken(home) == []


def _broken(home: Home) -> list[str]:
    reply = home.run(home.stack.operator.get("/api/v1/audit/invariants"))
    found: list[str] = reply.json()["broken"]
    return found
