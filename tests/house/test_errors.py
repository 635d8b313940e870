"""The family of errors: each takes a code and the values of its sentence where it is made, and what a route
answers has them."""

import json

import pytest

from runicorn import errors
from runicorn.viewer.exchange import Refused, to_error

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]


def test_every_error_is_of_the_family():
    assert len(KINDS) > 15 and all(issubclass(kind, errors.RunicornError) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_brings_its_code_and_values(kind):
    more = (3,) if issubclass(kind, (errors.SftpError, errors.FilterError)) else ()
    error = kind("the port is taken", *more, code="port", said="port_taken", port=23300)
    assert (str(error), error.code) == ("the port is taken", "port")
    assert error.values == {"said": "port_taken", "port": 23300}
    bare = kind("the port is taken", *more)
    assert (str(bare), bare.code, bare.values) == ("the port is taken", None, {})


def test_a_route_answers_with_the_errors_own_code_and_values():
    answer = to_error(errors.LineError("gpu hung up", code="banner", said="hung_up", host="gpu"))
    assert json.loads(answer.body) == {"error": "banner", "message": "gpu hung up",
                                       "values": {"said": "hung_up", "host": "gpu"}}
    assert answer.status == 502


def test_a_route_answers_without_them_with_the_kinds_code():
    answer = to_error(errors.FilterError("no word", 4))
    assert json.loads(answer.body) == {"error": "filter", "message": "no word", "at": 4}
    assert answer.status == 400
    answer = to_error(Refused(413, "too_large", "the body is too large"))
    assert json.loads(answer.body) == {"error": "too_large", "message": "the body is too large"}
    assert answer.status == 413
