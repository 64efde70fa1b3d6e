"""``clearctl member``: who is a member and how it stands."""

from typing import Annotated

import typer

from clearctl import names
from clearctl.amounts import account_name, grouped, own_name, when, word
from clearctl.asked import Member, Mine, Reason, Yes, noun
from clearctl.confirming import confirm
from clearctl.connecting import connected, own_member, send, tried
from clearctl.nouns.account import accounts
from clearctl.nouns.change import AtOnce, ProposalId, propose
from clearctl.nouns.status import unit_of
from clearctl.tables import Column, amount, enum, facts, listings, name, text, time
from clearctl.writing import write, write_done, write_rows
from clearing_client.client import Client, pages
from clearinghouse.v1 import account_service_pb2 as account_pb
from clearinghouse.v1 import admin_service_pb2 as admin_pb
from clearinghouse.v1 import membership_service_pb2 as pb

app = noun("Members: who they are, applying, leaving, being suspended.")

DisplayName = Annotated[str, typer.Option("--name", help="The name that people read.", metavar="TEXT")]
MEMBERS = (
    name("member", "name"),
    text("name", "display_name"),
    enum("status"),
    text("jurisdiction"),
    time("leaves", "leave_time"),
)
GRANTS = (name("regulator"), Column("jurisdictions", lambda row: " ".join(row.jurisdictions)))
DUES = (enum("kind"), name("default", "default_name"), amount("amount"), time("due"))


@app.command("list")
def list_members(context: typer.Context) -> None:
    """List the members and their status.

    Example: clearctl member list
    """
    with connected(context) as client:
        request = pb.ListMembersRequest()
        found = [one for page in pages(client.membership.ListMembers, request) for one in page.members]
        write_rows(context, found, "Members", MEMBERS, "There is no member.")


@app.command()
def show(context: typer.Context, member: Member) -> None:
    """Show one member: its status, its contribution to the pool, and what it owes, if you may see that.

    Example: clearctl member show alpha
    """
    with connected(context) as client:
        found = _member(client, member)
        write(context, found, lambda: [facts(_about(found)), *listings("Dues", found.stake.dues, DUES)])


@app.command()
def apply(context: typer.Context, display_name: DisplayName, member: Mine = None) -> None:
    """Apply for membership. Two administrators admit you.

    Example: clearctl member apply --name "Alpha Perpetuals"
    """
    request = pb.ApplyForMembershipRequest(member=own_member(context, member), display_name=display_name)
    with connected(context) as client:
        done = send(context, client.membership.ApplyForMembership, request)
        write_done(context, done, f"{own_name(done.member)} is {word(done, 'status')}.")


@app.command()
def leave(context: typer.Context, member: Mine = None) -> None:
    """Leave the house: no position may be left, and you stay liable for the capped period of your time.

    Example: clearctl member leave
    """
    request = pb.LeaveHouseRequest(member=own_member(context, member))
    with connected(context) as client:
        done = send(context, client.membership.LeaveHouse, request)
        write_done(context, done, f"{own_name(done.member)} is {word(done, 'status')}.")


@app.command()
def admit(
    context: typer.Context,
    member: Member,
    display_name: DisplayName,
    reason: Reason,
    proposal_id: ProposalId = None,
    at_once: AtOnce = False,
) -> None:
    """Propose, as administrator, to admit a member. Another one approves.

    Example: clearctl member admit gamma --name "Gamma Options" --reason "it applied and was examined"
    """
    change = admin_pb.AdmitMemberChange(member=names.member(member), display_name=display_name)
    propose(context, admin_pb.Change(admit_member=change), reason, proposal_id, at_once=at_once)


@app.command()
def suspend(context: typer.Context, member: Member, reason: Reason, yes: Yes = False) -> None:
    """Let a member only reduce, pay and withdraw, from now on. What it has open is shown first.

    One administrator is enough; to reinstate it takes two.

    Example: clearctl member suspend alpha --reason "its contracts were exploited"
    """
    request = admin_pb.SuspendMemberRequest(member=names.member(member), reason=reason)
    with connected(context) as client:
        tried(client.administration.SuspendMember, request)
        found, unit = _member(client, member), unit_of(client)
        of_member = account_pb.ListAccountsRequest(parent=request.member)
        held = [one for page in pages(client.accounts.ListAccounts, of_member) for one in page.accounts]
        told = f"{own_name(request.member)} may only reduce, pay and withdraw, at once."
        confirm(context, [facts(_about(found)), *accounts(held, unit), told], "Suspend it?", yes=yes)
        done = send(context, client.administration.SuspendMember, request)
        write_done(context, done, f"{own_name(done.member)} is suspended.")


@app.command()
def reinstate(
    context: typer.Context,
    member: Member,
    reason: Reason,
    proposal_id: ProposalId = None,
    at_once: AtOnce = False,
) -> None:
    """Propose, as administrator, that a suspended member may do everything again. Another one approves.

    Example: clearctl member reinstate alpha --reason "the contracts were mended"
    """
    change = admin_pb.ReinstateMemberChange(member=names.member(member))
    propose(context, admin_pb.Change(reinstate_member=change), reason, proposal_id, at_once=at_once)


@app.command()
def group(
    context: typer.Context,
    member: Member,
    reason: Reason,
    group: Annotated[
        str, typer.Option("--with", help="The group's name; left out: it stands alone.", metavar="GROUP")
    ] = "",
    proposal_id: ProposalId = None,
    at_once: AtOnce = False,
) -> None:
    """Propose, as administrator, to count a member with its affiliates under stress. Another one approves.

    Example: clearctl member group alpha --with north --reason "it has the owners of beta"
    """
    change = admin_pb.GroupMemberChange(member=names.member(member), group=group)
    propose(context, admin_pb.Change(group_member=change), reason, proposal_id, at_once=at_once)


@app.command()
def jurisdiction(
    context: typer.Context,
    member: Member,
    reason: Reason,
    country: Annotated[
        str, typer.Option("--in", help="Such as CH; left out: it is not stated.", metavar="COUNTRY")
    ] = "",
    proposal_id: ProposalId = None,
    at_once: AtOnce = False,
) -> None:
    """Propose, as administrator, under whose law a member stands. Another one approves.

    The country is written as two capital letters (ISO 3166-1 alpha-2). Who sees a member may depend on it.

    Example: clearctl member jurisdiction alpha --in CH --reason "its statutes say so"
    """
    change = admin_pb.SetJurisdictionChange(member=names.member(member), jurisdiction=country)
    propose(context, admin_pb.Change(set_jurisdiction=change), reason, proposal_id, at_once=at_once)


@app.command()
def grants(context: typer.Context) -> None:
    """List the regulators that see the members of some jurisdictions only. For administrators and regulators.

    Example: clearctl member grants
    """
    with connected(context) as client:
        request = admin_pb.ListGrantsRequest()
        found = [one for page in pages(client.administration.ListGrants, request) for one in page.grants]
        write_rows(context, found, "Grants", GRANTS, "Every regulator sees all.")


def _member(client: Client, member: str) -> pb.Member:
    return client.membership.GetMember(pb.GetMemberRequest(name=names.member(member))).member


def _about(found: pb.Member) -> list[tuple[str, str]]:
    about = [
        ("Member", f"{account_name(found.name)} ({found.display_name})"),
        ("Status", word(found, "status")),
    ]
    if found.HasField("leave_time"):
        about.append(("Leaves", when(found.leave_time)))
    if found.jurisdiction:
        about.append(("Jurisdiction", found.jurisdiction))
    if found.HasField("stake"):
        stake = found.stake
        must, has = grouped(stake.required_contribution or "0"), grouped(stake.held_contribution or "0")
        about.append(("Contribution", f"{has} of {must} required"))
        if stake.group:
            about.append(("Group", stake.group))
        if stake.suspend_reason:
            about.append(("Suspended", stake.suspend_reason))
    return about
