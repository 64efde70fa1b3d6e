"""Numbers for people: grouped by thousands, exact, never computed with."""


def grouped(amount: str) -> str:
    """``1234567.50`` as ``1,234,567.50``."""
    sign = "-" if amount.startswith("-") else ""
    whole, point, fraction = amount.removeprefix("-").partition(".")
    return f"{sign}{int(whole or 0):,}{point}{fraction}"


def trimmed(amount: str) -> str:
    """The same number, grouped, without zeros at the end of its fraction."""
    return grouped(amount.rstrip("0").rstrip(".") if "." in amount else amount)


def percent(basis_points: int) -> str:
    """Basis points as a signed percentage."""
    whole, rest = divmod(abs(basis_points), 100)
    sign = "−" if basis_points < 0 else "+"
    return f"{sign}{whole}.{rest:02}%"


def is_zero(amount: str) -> bool:
    """Whether a decimal string is zero."""
    return not amount.strip("-0.")


def word(enumerated: str) -> str:
    """``HEALTH_CALL`` as ``call``: the last part of an enum's name, as a word."""
    return enumerated.partition("_")[2].lower().replace("_", " ")


def own_name(name: str) -> str:
    """The last part of a resource name."""
    return name.rpartition("/")[2]


def account_name(name: str) -> str:
    """``members/alpha/accounts/house`` as ``alpha/house``; other names as they are, without collection."""
    parts = name.split("/")
    return (
        f"{parts[1]}/{parts[3]}"
        if len(parts) == 4 and parts[2] == "accounts"
        else name.removeprefix("members/")
    )
