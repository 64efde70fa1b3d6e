"""Resource names and ids stand for each other."""

from clearing.model.ids import AccountKey, ParticipantId, SetId, TradeKey, linked_set, single_set
from clearing.server.wire import names


def test_names_are_taken_apart_as_they_were_put_together() -> None:
    key = AccountKey("alpha/house")
    assert names.account(key) == "members/alpha/accounts/house"
    assert names.account_key(names.account(key)) == key
    assert names.member_id(names.account(key)) == "alpha"
    assert names.trade_key(names.trade(TradeKey("alpha/t-1"))) == "alpha/t-1"


def test_a_netting_set_has_one_name_whether_linked_or_not() -> None:
    for set_id, name in (
        (single_set(AccountKey("alpha/one")), "nettingSets/alpha~one"),
        (linked_set(ParticipantId("pat")), "nettingSets/link~pat"),
    ):
        assert names.netting_set(set_id) == name
        assert names.set_id(name) == set_id
        assert names.is_netting_set(name)
    assert not names.is_netting_set(names.account(AccountKey("alpha/one")))
    assert names.set_id("nettingSets/a~b~c") == SetId("a/b~c")
