"""Resource names, from what people type: ``alpha/one`` for ``members/alpha/accounts/one``."""


def named(collection: str, text: str) -> str:
    """``text`` as a name in ``collection``, whether it says so or not."""
    return f"{collection}/{text.removeprefix(f'{collection}/')}"


def member(text: str) -> str:
    """``alpha`` as ``members/alpha``."""
    return named("members", text)


def parent(text: str | None) -> str:
    """The member to list under, or all that one may see."""
    return member(text or "-")


def account(text: str) -> str:
    """``alpha/one`` as ``members/alpha/accounts/one``; what is no such pair goes to the house as it is."""
    own, slash, name = text.partition("/")
    return f"members/{own}/accounts/{name}" if slash and "/" not in name else text


def withdrawal(text: str) -> str:
    """``alpha/one/w1`` as ``members/alpha/accounts/one/withdrawals/w1``."""
    parts = text.split("/")
    return f"{account('/'.join(parts[:2]))}/withdrawals/{parts[2]}" if len(parts) == 3 else text


def trade(text: str) -> str:
    """``alpha/t1`` as ``members/alpha/trades/t1``."""
    own, slash, name = text.partition("/")
    return f"members/{own}/trades/{name}" if slash and "/" not in name else text


def instrument(text: str) -> str:
    """``BTC-PERP`` as ``instruments/BTC-PERP``; ``all`` as every instrument."""
    return "instruments/-" if text == "all" else named("instruments", text)
