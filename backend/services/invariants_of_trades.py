"""What must be so of each trade: one function per invariant, each on one dossier.

Each yields sentences that name the row and the numbers; none: it holds.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

from backend.domain import exact_json
from backend.domain.clock import from_row, to_et
from backend.domain.money import ZERO, is_multiple, stored, to_text
from backend.domain.order import (
    FINAL,
    ORDER_EDGES,
    UNSETTLED,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
    TimeInForce,
)
from backend.domain.trade import TRADE_EDGES, TradeStatus
from backend.services.planning import plan_hash
from backend.services.reset import EXCHANGE_RESET
from backend.store.dossiers import TERMS, Booked, Dossier, Sent, Told

Sentences = Iterator[str]
_LIVES = frozenset({"pending", "executing", "working"})
_NEVER_SENT = frozenset({"pending", "cancelled", "expired"})
# An account that begins anew frees the exchange's order ids: see `orders.retire_fills`.
_RETIRED = "before "
_ORDER_AFTER: Mapping[str, Collection[str]] = {str(k): v for k, v in ORDER_EDGES.items()}
_TRADE_AFTER: Mapping[str, Collection[str]] = {str(k): v for k, v in TRADE_EDGES.items()}


def one_order(one: Dossier) -> Sentences:
    """I-1: a trade is claimed once, told to the journal once, and is one order there."""
    if (claims := len(one.events("trade.claimed"))) > 1:
        yield f"{one.id} was claimed {claims} times"
    if len(one.sent) > 1:
        yield f"{one.id} stands {len(one.sent)} times in the send journal"
    theirs = {_their_id(fill.exchange_order_id) for fill in one.fills}
    if one.row["exchange_order_id"] and theirs:
        theirs.add(one.row["exchange_order_id"])
    if len(theirs) > 1:
        yield f"{one.id} is more than one order of the exchange: {', '.join(sorted(theirs))}"


def released_with_evidence(one: Dossier) -> Sentences:
    """I-2: a reservation is released only by the plan's end or the order's proven end."""
    row = one.row
    if row["status"] in _LIVES and not (one.holds and all(hold.open for hold in one.holds)):
        yield f"{one.id} is {row['status']} and its reservation is released"
    if row["state"] not in FINAL or row["exchange_code"] == EXCHANGE_RESET:
        return
    ended_with = stored(row["filled_quantity"])
    told = stored(row["reported_quantity"])
    if row["state"] == OrderState.FILLED:
        told = max(told, stored(row["quantity"]))
    if ended_with < told:
        yield (
            f"{one.id} ended as {row['state']} with {to_text(ended_with)} booked, "
            f"the exchange told of {to_text(told)}"
        )


def unsent_has_no_order(one: Dossier) -> Sentences:
    """I-3: what was not claimed has no order, no fill, and no line in the journal."""
    row = one.row
    if row["status"] not in _NEVER_SENT:
        return
    if row["state"] is not None:
        yield f"{one.id} is {row['status']} and has an order, {row['state']}"
    if one.sent:
        yield f"{one.id} is {row['status']} and stands in the send journal"
    if one.fills:
        yield f"{one.id} is {row['status']} and has {len(one.fills)} fills"


def fills_add_up(one: Dossier) -> Sentences:
    """I-4: an order's fills make its quantity and notional, and are its own."""
    row = one.row
    filled, notional = ZERO, ZERO
    for fill in one.fills:
        quantity, price = stored(fill.quantity), stored(fill.price)
        filled, notional = filled + quantity, notional + quantity * price
        if (fill.symbol, fill.side) != (row["symbol"], row["side"]):
            yield f"{one.id}: fill {fill.exchange_fill_id} is a {fill.side} of {fill.symbol}"
        if quantity <= 0 or price <= 0 or stored(fill.fee) < 0:
            yield f"{one.id}: fill {fill.exchange_fill_id} has a quantity, price or fee below 0"
    booked = stored(row["filled_quantity"] or "0"), stored(row["filled_notional"] or "0")
    if booked != (filled, notional):
        yield (
            f"{one.id} has {to_text(booked[0])} filled for {to_text(booked[1])}, its fills are "
            f"{to_text(filled)} for {to_text(notional)}"
        )
    if filled > stored(row["quantity"]) and not row["incident"]:
        yield f"{one.id} has {to_text(filled)} of {row['quantity']} filled, without an incident"


def holds_add_up(one: Dossier) -> Sentences:
    """I-5: a hold is posted, voided or open; an ended trade keeps nothing, a live one enough."""
    row = one.row
    currency, wanted = row["base"], stored(row["quantity"])
    if row["side"] == Side.BUY:
        currency, wanted = row["quote_currency"], wanted * stored(row["worst_price"])
    reserved = ZERO
    for hold in one.holds:
        what, left = f"hold of {one.id} in {hold.currency}", hold.left
        if left < 0 or (left and not hold.open):
            state = "open" if hold.open else "closed"
            yield f"{what} is {state} and leaves {to_text(left)} of {hold.reserved}"
        if hold.open and row["status"] not in _LIVES:
            yield f"{what} is open, the trade is {row['status']}"
        if hold.account != row["account"]:
            yield f"{what} is on another account"
        if hold.currency == currency:
            reserved = stored(hold.reserved)
    if reserved < wanted:
        yield f"{one.id} reserved {to_text(reserved)} {currency}, it may take {to_text(wanted)}"


def fills_are_posted(one: Dossier) -> Sentences:
    """I-6: each fill moved exactly its money, once."""
    if not (one.fills or one.postings):
        return
    wanted = [
        (fill.exchange_fill_id, currency, amount)
        for fill in one.fills
        for currency, amount in _moved(fill, one.row["base"], one.row["quote_currency"]).items()
        if amount
    ]
    posted = [(p.exchange_fill_id, p.currency, stored(p.amount)) for p in one.postings]
    if sorted(wanted) == sorted(posted):
        return
    for fill_id, currency, amount in wanted:
        if (fill_id, currency, amount) not in posted:
            yield f"{one.id}: {to_text(amount)} {currency} of fill {fill_id} is not posted"
    for (fill_id, currency, amount), count in Counter(posted).items():
        if count > wanted.count((fill_id, currency, amount)):
            yield f"{one.id}: {to_text(amount)} {currency} of fill {fill_id} is posted too often"


def _moved(fill: Booked, base: str, quote: str) -> dict[str, Decimal]:
    """Return what a fill must move, worked out apart from what posts it."""
    quantity, price = stored(fill.quantity), stored(fill.price)
    moved = {base: quantity, quote: -quantity * price}
    if fill.side == Side.SELL:
        moved = {base: -quantity, quote: quantity * price}
    moved[fill.fee_currency] = moved.get(fill.fee_currency, ZERO) - stored(fill.fee)
    return moved


def claimed_in_time(one: Dossier) -> Sentences:
    """I-7: a claim comes before the expiry, an expiry not before it, and after it no claim."""
    row = one.row
    if row["claimed_at"] is not None and not row["claimed_at"] < row["expires_at"]:
        claimed, expired = _et(row["claimed_at"]), _et(row["expires_at"])
        yield f"{one.id} was claimed at {claimed}, it expired at {expired}"
    if row["status"] == "expired" and (row["finished_at"] or "") < row["expires_at"]:
        yield f"{one.id} expired at {_et(row['finished_at'])}, before {_et(row['expires_at'])}"
    ended = [told.seq for told in one.told if told.event in ("trade.expired", "trade.cancelled")]
    if ended and any(claim.seq > ended[0] for claim in one.events("trade.claimed")):
        yield f"{one.id} was claimed after audit row {ended[0]} had told that it had ended"


def history_is_a_path(one: Dossier) -> Sentences:
    """I-8: the told states follow the state tables, and end where the rows are."""
    row = one.row
    states = _path([told.state for told in one.told])
    statuses = _path([told.status for told in one.told])
    for before, after in pairwise(states):
        if after not in _ORDER_AFTER.get(before, ()):
            yield f"order of {one.id} went from {before} to {after}"
    for before, after in pairwise(statuses):
        if after not in _TRADE_AFTER.get(before, ()):
            yield f"{one.id} went from {before} to {after}"
        elif before == TradeStatus.FAILED and not row["incident"]:
            yield f"{one.id} went from {before} to {after} without an incident"
    last = states[-1] if states else None
    if last != row["state"]:
        yield f"order of {one.id} is {row['state']}, last told {last}"
    if statuses and statuses[-1] != row["status"]:
        yield f"{one.id} is {row['status']}, last told {statuses[-1]}"
    if not _fits(row["status"], row["state"], bool(one.fills)):
        some = "something" if one.fills else "nothing"
        yield f"{one.id} is {row['status']}, its order {row['state'] or 'not there'}, {some} filled"
    noted = len(one.events("trade.approved")) + len(one.events("incident"))
    if not one.restored and statuses and row["version"] != len(statuses) + noted:
        yield f"{one.id} has version {row['version']}, it was changed {len(statuses) + noted} times"


def is_written_down(one: Dossier) -> Sentences:
    """I-9: plan, approval, claim and each fill have their audit row, and so has what was sent."""
    row = one.row
    if (plans := len(one.events("trade.planned"))) != 1:
        yield f"{one.id} has {plans} audit rows trade.planned"
    claims = one.events("trade.claimed")
    if row["state"] is not None and not claims:
        yield f"{one.id} has an order and no audit row trade.claimed"
    if claims and not claims[0].restored and claims[0].at != row["claimed_at"]:
        there, here = _et(claims[0].at), _et(row["claimed_at"])
        yield f"{one.id} was claimed at {here}, the audit says {there}"
    if not one.restored and bool(row["approved_by"]) != bool(one.events("trade.approved")):
        yield f"{one.id} is approved by {row['approved_by']}, and the audit says otherwise"
    for sent in one.sent:
        if claims and not claims[0].restored and not _is_claim(sent, claims[0]):
            yield f"{one.id} stands in the send journal under another claim, {sent.audit_seq}"
    settled = "".join(told.detail for told in one.events("order.settled")) if one.fills else ""
    for fill in one.fills:
        if (times := settled.count(f"[{exact_json.dumps(fill.exchange_fill_id)},")) != 1:
            yield f"{one.id}: fill {fill.exchange_fill_id} is {times} times in the audit"


def sent_as_approved(one: Dossier) -> Sentences:
    """I-11: what was sent is what was planned and approved, by the rules in force then."""
    row = one.row
    if _hash_of(*(row[name] for name in _HASHED)) != row["plan_hash"]:
        yield f"{one.id} has other terms than its plan hash is of"
    for event in ("trade.planned", "trade.approved", "trade.claimed"):
        for told in one.events(event):
            if not told.restored and row["plan_hash"] not in told.detail:
                yield f"{one.id} has other terms than audit row {told.seq} {event}"
    yield from _approved_by_another(one)
    yield from _sent_as_stored(one)
    yield from _within_the_rules(one)


def _approved_by_another(one: Dossier) -> Sentences:
    row = one.row
    if row["state"] is not None and row["approval_required"] and not row["approved_by"]:
        yield f"{one.id} was claimed without the approval it needed"
    if row["approved_by"] == row["principal"]:
        yield f"{one.id} was approved by its planner, {row['principal']}"


def _sent_as_stored(one: Dossier) -> Sentences:
    row = one.row
    for sent in one.sent:
        ours = (row["account_id"], row["sign_time"], row["valid_until"])
        if row["state"] and ours != (sent.account_id, sent.sign_time, sent.valid_until):
            where, when = sent.account_id, _et(sent.sign_time)
            yield f"{one.id} was sent from {where} at {when}, not as stored"
        for name, text in zip(TERMS, sent.terms, strict=True):
            if row[name] != text:
                yield f"{one.id} was sent with {name} {text}, the trade has {row[name]}"


def _within_the_rules(one: Dossier) -> Sentences:
    row = one.row
    rules = dict(_rules(row["checks"]))
    quantity, worst = stored(row["quantity"]), stored(row["worst_price"])
    step, tick = rules.get("step_size"), rules.get("tick_size")
    if step and not is_multiple(quantity, step):
        yield f"{one.id} has quantity {row['quantity']}, not a multiple of {to_text(step)}"
    prices = (row["limit_price"], row["stop_price"], row["worst_price"])
    for price in prices if tick else ():
        if price is not None and tick and not is_multiple(stored(price), tick):
            yield f"{one.id} has price {price}, not a multiple of {to_text(tick)}"
    if quantity > rules.get("quantity_bounds", quantity):
        yield f"{one.id} has quantity {row['quantity']}, above the exchange's most"
    if quantity * worst < rules.get("min_notional", ZERO):
        yield f"{one.id} has notional {to_text(quantity * worst)}, below the exchange's least"


@lru_cache(maxsize=4096)
def _rules(checks: str) -> tuple[tuple[str, Decimal], ...]:
    """Return the exchange's rules as the plan's checks were answered with them."""
    named = ("step_size", "tick_size", "quantity_bounds", "min_notional")
    answered = exact_json.loads(checks)
    return tuple((c["check"], c["limit"]) for c in answered if c["check"] in named and "limit" in c)


_HASHED = (
    *("account_id", "symbol", "side", "quantity", "order_type", "limit_price", "stop_price"),
    *("time_in_force", "price", "worst_price", "band_bps", "rules_version"),
)


@lru_cache(maxsize=4096)
def _hash_of(
    account_id: str,
    symbol: str,
    side: str,
    quantity: str,
    order_type: str,
    limit_price: str | None,
    stop_price: str | None,
    time_in_force: str,
    *pricing: str,
) -> str:
    """Return the plan hash of a row's columns, as they are stored."""
    terms = OrderTerms(
        symbol,
        Side(side),
        stored(quantity),
        OrderType(order_type),
        stored(limit_price) if limit_price else None,
        stored(stop_price) if stop_price else None,
        TimeInForce(time_in_force),
    )
    *prices, rules_version = pricing
    price, worst, band = map(stored, prices)
    return plan_hash(account_id, terms, price, worst, band, rules_version)


def _path(told: list[str | None]) -> list[str]:
    """Return what was told, without what says nothing new."""
    said = [one for one in told if one is not None]
    return [one for i, one in enumerate(said) if i == 0 or one != said[i - 1]]


def _fits(status: str, state: str | None, filled: bool) -> bool:
    """Say whether a trade may be in this status while its order is in that state."""
    if status in _NEVER_SENT:
        return True  # Whether there is an order is another invariant's.
    if status == "executing":
        return state in UNSETTLED and not filled
    if status == "working":
        return state == (OrderState.PARTIALLY_FILLED if filled else OrderState.OPEN)
    return state in FINAL and filled == (status == "executed")


def _et(at: str | None) -> str:
    return to_et(from_row(at)) if at else "no time"


def _is_claim(sent: Sent, told: Told) -> bool:
    return (sent.audit_seq, sent.audit_hash) == (told.seq, told.hash)


def _their_id(exchange_order_id: str) -> str:
    if not exchange_order_id.startswith(_RETIRED):
        return exchange_order_id
    return exchange_order_id.partition(": ")[2]
