"""A fact reads the same however a vendor writes it; what cannot be read is never a fact."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Answer, Callback
from providers.decoding import decoded
from providers.reading import (
    UNREADABLE,
    code_of,
    count_of,
    dated,
    holds,
    id_of,
    money_of,
    number_of,
    time_of,
    word_of,
)

NAN, INF = float("nan"), float("inf")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.decimals().map(str),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=3,
)

FIVE_THOUSAND = [
    5000, 5000.0, "5000", "5 000", "5,000", "5.000", "5'000", "5’000", "5\u00a0000", "5\u202f000", "5\u2009000",
    " 5000 ", "5000\n", "5000.0", "5000,00", "5,000.00", "5.000,00", "5 000,0", "05000", "５０００", "٥٠٠٠",
]  # fmt: skip
NO_COUNT: list[Any] = [
    None, "", "  ", True, False, [], {}, [5], {"a": 5}, -1, -0.5, 1.5, NAN, INF, -INF, "null", "many", "5000 contacts",
    "5k", "5e3", "-5", "+5", "1.5", "1,5", "0,500", "05,000", "0.000", "1,2,3", "1.000.00", "1 234,567", "5_000", "5²",
    "½", "0x10", "9" * 100, 10**40, "1,000.000",
]  # fmt: skip


@pytest.mark.parametrize("written", FIVE_THOUSAND)
def test_a_count_is_a_number_however_it_is_written(written: object) -> None:
    """C3: a text, a float, and digits in groups."""
    assert count_of(written) == 5000


@pytest.mark.parametrize("written", NO_COUNT)
def test_what_is_no_count_is_larger_than_every_bound(written: object) -> None:
    """C3: missing, of another type, negative, broken or in words."""
    assert count_of(written) == UNREADABLE


@pytest.mark.parametrize(
    ("written", "count"),
    [(0, 0), ("0", 0), (-0.0, 0), ("1,00,000", 100_000), ("12,34,567", 1_234_567), ("1.234.567", 1_234_567)],
)
def test_nobody_and_millions_are_counts(written: object, count: int) -> None:
    assert count_of(written) == count


@given(st.integers(0, UNREADABLE - 1), st.sampled_from([" ", ",", ".", "'", "\u00a0", "\u202f"]))
def test_digits_in_groups_are_the_number_that_was_grouped(number: int, mark: str) -> None:
    assert count_of(f"{number:,}".replace(",", mark)) == number
    assert count_of(float(number)) == count_of(str(number)) == number


@given(anything)
def test_whatever_is_written_every_reader_answers_in_its_own_type(written: Any) -> None:
    count, money = count_of(written), money_of(written)
    assert type(count) is int
    assert 0 <= count <= UNREADABLE
    assert money is None or (money.is_finite() and len(str(money)) <= 60)
    for text in (id_of(written), word_of(written), number_of(written)):
        assert len(text) <= 255
        assert text.isprintable()
        assert text == text.strip()
        text.encode()
    assert code_of(written) is None or isinstance(code_of(written), int)
    assert holds(written) or not dated(written)
    assert time_of(written) is None or dated(written)


@given(anything)
def test_what_was_read_reads_as_itself(written: Any) -> None:
    assert id_of(id_of(written)) == id_of(written)
    assert word_of(word_of(written)) == word_of(written)
    assert number_of(f"+{number_of(written)}").lstrip("0") == number_of(written).lstrip("0")


MONEY: dict[Any, str | None] = {
    2.58: "2.58", 12: "12", 0: "0", "2.58": "2.58", "2,58": "2.58", "1 234,50 €": "1234.50", "€1,234.50": "1234.50",
    "EUR 1.234,56": "1234.56", "2,58EUR": "2.58", "12.54 euros": "12.54", "1'234.50 CHF": "1234.50", "-3.20": "-3.20",
    "0,129": "0.129", "0.129": "0.129", "1.234": "1.234", "1234,567": "1234.567", "1.234.567": "1234567",
    "₹ 12,34,567": None, "1,234": None, "": None, "free": None, "EUR": None, "5 contacts": None, "12.5.3": None,
    "null": None, "9" * 31: None, None: None, NAN: None, INF: None, 1e13: None, 10**400: None, (): None,
}  # fmt: skip


@pytest.mark.parametrize("written", MONEY)
def test_money_is_an_amount_or_is_not_told(written: Any) -> None:
    wanted = MONEY[written]
    assert money_of(written) == (None if wanted is None else Decimal(wanted))


def test_neither_a_yes_nor_a_list_is_money() -> None:
    assert [money_of(written) for written in (True, False, [5], {"amount": 5})] == [None] * 4


@pytest.mark.parametrize("written", [104, 104.0, "104", " 104 ", "104.0", "0104", "１０４"])
def test_a_code_is_one_however_it_is_written(written: object) -> None:
    assert code_of(written) == 104


@pytest.mark.parametrize("written", [None, 0, 0.0, "0", "000", "", " ", "null", "None", False, [], {}])
def test_no_code_is_no_code(written: object) -> None:
    assert code_of(written) is None


@pytest.mark.parametrize("written", ["E104", True, [104], {"code": 104}, 104.5, NAN, 10**12, "104 and more"])
def test_a_code_that_cannot_be_read_is_in_no_table(written: object) -> None:
    assert code_of(written) == UNREADABLE


@pytest.mark.parametrize("written", [22, 22.0, "22", " 22", "22 ", "\u00a022\n"])
def test_an_id_is_one_however_it_is_written(written: object) -> None:
    assert id_of(written) == "22"


@pytest.mark.parametrize(
    "written",
    [
        None, "", "  ", "null", "None", "undefined", True, False, [], [22], {}, 22.5, NAN, INF,
        "a\nb", "a\x00", "\ud800", "a" * 256,
    ],
)  # fmt: skip
def test_what_is_no_id_is_none(written: object) -> None:
    assert id_of(written) == ""


@pytest.mark.parametrize("written", ["delivered", " Delivered ", "DELIVERED\r\n", "\tdeliVERED"])
def test_a_status_word_is_one_however_it_is_written(written: str) -> None:
    """C13: status words are trimmed and in capitals."""
    assert word_of(written) == "DELIVERED"


def test_a_status_may_be_undefined_and_null_is_none() -> None:
    words = ["undefined", "false", "not  delivered", "000", 0, None, "null", "", True, [], "a\x00b", "ß" * 60]
    assert [word_of(word) for word in words] == [
        "UNDEFINED", "FALSE", "NOT DELIVERED", "000", "0", "", "", "", "", "", "A B", "S" * 64,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "written",
    [
        "+33612345678", "33612345678", " 33612345678", "0033612345678", "+33 6 12-34.56.78", "+33 (0)6 12 34 56 78",
        "+33\u00a06\u202f12\u00a034\u00a056\u00a078", "tel:+33612345678", 33612345678, 33612345678.0,
        "＋３３６１２３４５６７８", "+33 6 12 34 56–78", "33612345678.0", "+33612345678.00", "whatsapp:+33612345678",
        "3.3612345678E+10", "3,3612345678e10", "+33 6 12 34 56 78 (Ana)", "33612345678(mobile)",
        "tel:+33612345678;phone-context=+33", "\u202a+33 6 12 34 56 78\u202c", "\u200e+33612345678",
    ],
)  # fmt: skip
def test_a_telephone_number_is_its_digits(written: object) -> None:
    """C13: one phone, however it is written; a form's bare plus is a space."""
    assert number_of(written) == "33612345678"


def test_two_zeros_at_the_end_of_a_dotted_number_are_part_of_it() -> None:
    assert number_of("06.12.34.56.00") == "0612345600"
    assert number_of("+33 6.12.34.56.00") == "33612345600"


@pytest.mark.parametrize(
    "written",
    [
        "", None, "anonymous", "user12", "ana@12.example", True, [], {}, "+", "()", NAN, "(Ana)", "3.36123E+10",
        "3.3612345678E+99", "E+10",
    ],
)  # fmt: skip
def test_a_name_is_no_telephone_number(written: object) -> None:
    assert number_of(written) == ""


NOTHING: list[Any] = [
    None,
    "",
    " ",
    "null",
    "NULL",
    "None",
    "false",
    "undefined",
    False,
    0,
    "0",
    [],
    {},
    "[]",
    "{}",
    "-",
]
ZEROS = [
    "0000-00-00", "0000-00-00 00:00:00", "0000-00-00T00:00:00Z", "0000-00-00T00:00:00+00:00", "00/00/0000", "00:00",
    "1970-01-01 00:00:00", "1970-01-01T01:00:00+01:00", "0001-01-01T00:00:00", "-0001-11-30 00:00:00",
]  # fmt: skip


@pytest.mark.parametrize("written", [*NOTHING, *ZEROS, "N/A", "no", "never", "true", True, 1, "yesterday", "12:0"])
def test_a_date_of_nothing_is_no_date(written: object) -> None:
    """C12: the mere presence of a value means nothing."""
    assert not dated(written)


@pytest.mark.parametrize(
    "written", ["2021-06-01", "2021-06-01 12:00:00", "01/06/2021", "1/6/21 12:00", "20210601", 1622538000]
)
def test_a_date_that_is_filled_in_is_one(written: object) -> None:
    assert dated(written)


@pytest.mark.parametrize(
    "written",
    ["2021-06-01T12:00:00+03:00", " 2021-06-01 12:00:00 ", "2021-06-01T12:00:00.250Z", "2021-06-01T12:00+0200"],
)
def test_a_time_is_read(written: str) -> None:
    read = time_of(written)
    assert read is not None
    assert (read.year, read.month, read.day, read.hour) == (2021, 6, 1, 12)


@pytest.mark.parametrize(
    "written",
    [
        *NOTHING, *ZEROS, "soon", "20260101", "12:00", "2021-06-01T25:00:00", "2021-13-01", "9999-12-31T23:59:59Z",
        1622538000, True,
    ],
)  # fmt: skip
def test_what_is_no_time_is_none(written: object) -> None:
    assert time_of(written) is None


# --- bytes -----------------------------------------------------------------------------------------------------------

BYTES: dict[str, tuple[bytes, str]] = {
    "UTF-8": ("é".encode(), "application/json"),
    "UTF-8, declared": ("é".encode(), 'application/json; charset="UTF-8"'),
    "a byte order mark": (b"\xef\xbb\xbf\xc3\xa9", "text/html; charset=iso-8859-1"),
    "Latin-1, declared": (b"\xe9", "application/json;charset=ISO-8859-1"),
    "Latin-1, undeclared": (b"\xe9", "application/json"),
    "Latin-1, declared as UTF-8": (b"\xe9", "application/json; charset=utf-8"),
    "Windows": (b"\xe9", "application/json; charset=windows-1252"),
    "UTF-16 with its mark": ("é".encode("utf-16"), "application/json"),
    "UTF-16, declared": ("é".encode("utf-16-le"), "application/json; charset=utf-16-le"),
    "a charset of nobody's": ("é".encode(), "application/json; charset=klingon"),
    "a charset that is a codec": ("é".encode(), "application/json; charset=base64"),
    "a notation of Python's": ("é".encode(), "application/json; charset=unicode_escape"),
    "an empty charset": ("é".encode(), "application/json; charset="),
    "ASCII, which it is not": ("é".encode(), "application/json; charset=us-ascii"),
}


@pytest.mark.parametrize("case", BYTES)
def test_bytes_are_read_as_declared_else_as_utf_8_else_as_latin_1(case: str) -> None:
    body, content = BYTES[case]
    assert decoded(body, content) == "é"


@pytest.mark.parametrize("case", BYTES)
def test_answers_and_callbacks_are_read_alike(case: str) -> None:
    plain, content = BYTES[case]
    wide = "utf-16-le" if "UTF-16" in case else "ascii"
    mark = plain[:3] if case == "a byte order mark" else plain[:2] if case == "UTF-16 with its mark" else b""
    body = mark + '{"id": "'.encode(wide) + plain.removeprefix(mark) + '"}'.encode(wide)
    assert Answer(200, {"content-type": content}, body).json() == {"id": "é"}
    assert Callback(content, body).fields() == {"id": "é"}


@given(st.binary(max_size=200), st.text(max_size=60) | st.sampled_from(["charset=utf-7", "charset=idna", "charset=\0"]))
def test_any_bytes_under_any_name_are_some_text(body: bytes, content: str) -> None:
    assert isinstance(decoded(body, content), str)


FORM = "application/x-www-form-urlencoded"
FORMS: dict[str, tuple[str, bytes]] = {
    "UTF-8, in percents": (FORM, b"text=d%C3%A9j%C3%A0+vu"),
    "UTF-8, plain": (FORM, "text=déjà+vu".encode()),
    "Latin-1, in percents": (FORM, b"text=d%E9j%E0+vu"),
    "Latin-1, plain": (FORM, b"text=d\xe9j\xe0+vu"),
    "Latin-1, declared": (f"{FORM}; charset=iso-8859-15", b"text=d%e9j%e0%20vu"),
    "a byte order mark": (FORM, b"\xef\xbb\xbftext=d%C3%A9j%C3%A0+vu"),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_form_is_read_in_its_charset(case: str) -> None:
    assert Callback(*FORMS[case]).fields() == {"text": "déjà vu"}


def test_the_fields_of_a_callback_are_text_that_can_be_stored() -> None:
    body = b'{"a": 22.0, "b": 22, "c": null, "d": true, "e": [1], "f": "x\\u0000\\ud800", "g": 1.5}'
    assert Callback("application/JSON", body).fields() == {
        "a": "22", "b": "22", "c": "", "d": "true", "e": "[1]", "f": "x\ufffd?", "g": "1.5",
    }  # fmt: skip


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-32", "cp037", "ascii"])
def test_json_is_read_though_the_charset_that_it_declares_is_not_its_own(charset: str) -> None:
    body, content = '{"id": 22, "name": "é"}'.encode(), f"application/json; charset={charset}"
    assert Answer(201, {"content-type": content}, body).json() == {"id": 22, "name": "é"}
    assert Callback(content, body).fields() == {"id": "22", "name": "é"}


def test_a_list_of_one_object_is_that_object() -> None:
    assert Callback("application/json", b'[{"id": 22}]').fields() == {"id": "22"}


TWO = b'[{"id": 22}, {"id": 23}]'


@pytest.mark.parametrize(
    "body", [b"[" * 99_999, b'{"a": ' * 99_999, b"[1]", b"null", b"{", b"", b"{'a': 1}", b"[]", TWO]
)
def test_what_is_no_object_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Callback("application/json", body).fields()
    if body not in (b"[1]", b"null", b"[]", TWO):
        with pytest.raises(ValueError, match=r"."):
            Answer(200, {}, body).json()
