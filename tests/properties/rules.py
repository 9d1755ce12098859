"""Properties of one instrument: what its rules take, and what they offer instead."""

from decimal import Decimal

from hypothesis import strategies as st

from backend.domain.instrument import Instrument, Violation
from backend.domain.money import padded, parse_positive, stored, to_text

D = Decimal
PLACES = D("1e-18")


def beside(edge: Decimal, unit: Decimal, units: int, off: Decimal) -> Decimal:
    """Return a number `units` away from a whole multiple at `edge`, and `off` of one more."""
    whole = (edge / unit).to_integral_value() * unit
    return max((whole + units * unit + off * unit), PLACES)


@st.composite
def numbers(draw: st.DrawFn, unit: Decimal, edges: list[Decimal]) -> Decimal:
    """Numbers at, beside and between the edges of a rule, on the unit and off it."""
    edge = (
        draw(st.sampled_from(edges)) if draw(st.booleans()) else unit * draw(st.integers(1, 10**9))
    )
    off = draw(st.sampled_from([D(0), D(0), D("0.5"), D("0.1"), D("0.999"), D("0.000001")]))
    return beside(edge, unit, draw(st.integers(-3, 3)), off).quantize(PLACES)


def quantities(one: Instrument) -> st.SearchStrategy[Decimal]:
    return numbers(one.step_size, [one.min_quantity, one.max_quantity])


def prices(one: Instrument) -> st.SearchStrategy[Decimal]:
    edges = [one.tick_size, one.tick_size * 1000]
    return numbers(one.tick_size, [*edges, *filter(None, (one.min_price, one.max_price))])


def check_quantity(one: Instrument, quantity: Decimal) -> None:
    """On a step and within the bounds: taken. Otherwise refused, with what would be taken."""
    fits = not quantity % one.step_size
    inside = one.min_quantity <= quantity <= one.max_quantity
    step, bounds = one.step_violation(quantity), one.bounds_violation(quantity)
    assert (step is None, bounds is None) == (fits, inside)
    for violation in filter(None, (step, bounds)):
        _nearest_are_valid(violation, quantity, one.step_size, one.min_quantity, one.max_quantity)


def check_price(one: Instrument, price: Decimal) -> None:
    low, high = one.min_price or one.tick_size, one.max_price
    fits = not price % one.tick_size
    inside = (one.min_price is None or price >= low) and (high is None or price <= high)
    violation = one.price_violation(price)
    assert (violation is None) == (fits and inside)
    if violation is not None:
        _nearest_are_valid(violation, price, one.tick_size, low, high)


def _nearest_are_valid(
    violation: Violation, value: Decimal, unit: Decimal, least: Decimal, most: Decimal | None
) -> None:
    """They are multiples within the bounds, and no other valid number is nearer on its side."""
    low = (value / unit).to_integral_value("ROUND_FLOOR") * unit
    first = (least / unit).to_integral_value("ROUND_CEILING") * unit
    last = None if most is None else (most / unit).to_integral_value("ROUND_FLOOR") * unit
    wanted = {max(low, first), max(low + unit if value % unit else low, first)}
    if last is not None:
        wanted = {min(one, last) for one in wanted}
    assert set(violation.nearest) == wanted, (violation, value, wanted)
    assert list(violation.nearest) == sorted(wanted)


def check_notional(one: Instrument, quantity: Decimal, price: Decimal) -> None:
    """Refused with the quantity next to it that passes at this price, where there is one."""
    violation = one.notional_violation(quantity, price)
    notional = quantity * price
    most = one.max_notional
    inside = notional >= one.min_notional and (most is None or notional <= most)
    assert (violation is None) == inside
    for near in violation.nearest if violation else ():
        assert near % one.step_size == 0
        assert one.min_quantity <= near <= one.max_quantity
        assert one.notional_violation(near, price) is None, (violation, near)
        further = near - one.step_size if notional < one.min_notional else near + one.step_size
        if one.min_quantity <= further <= one.max_quantity:
            assert one.notional_violation(further, price) is not None


def check_text(number: Decimal) -> None:
    """A number comes back from its text digit by digit, and as it is shown."""
    text = to_text(number)
    assert "e" not in text.lower()
    assert stored(text) == number
    assert padded(number, 8) == number
    whole, _, rest = text.partition(".")
    if number > 0 and len(whole) <= 18 and len(rest) <= 18:
        assert parse_positive(text) == number
