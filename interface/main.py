"""The command line `tickets`, wired."""

import typer

from application.errors import Unavailable
from application.import_users import NoImport
from application.ledger import LedgerBroken
from domain.errors import Refusal
from interface.cli.audit import AuditActions
from interface.cli.backup import BackupActions
from interface.cli.commands import Actions, build_cli
from interface.cli.delivery import DeliveryActions
from interface.cli.feed import FeedActions
from interface.cli.messages import fail
from interface.cli.operations import OperationActions
from interface.outbound.cursor_file import CursorRefused
from interface.outbound.sqlite_backup import BackupRefused
from interface.settings import WrongSettings, read_settings
from interface.wiring.audit import (
    check_record,
    export_evidence,
    export_log,
    rebuild_rows,
    show_history,
    show_past,
    sign_now,
)
from interface.wiring.backup import back_up, mark_restored, restore
from interface.wiring.delivery import (
    check_templates,
    deliver_alone,
    render_template,
    reseal_outbox,
    rotate_outbox_key,
)
from interface.wiring.feed import follow_feed, publish_feeds, push_alone
from interface.wiring.operations import examine, migrate
from interface.wiring.server import serve, sign_token
from interface.wiring.service import ledger_keys
from interface.wiring.users import import_from, run_expiry


def command_line() -> typer.Typer:
    """Return the command line over the service."""
    audit = AuditActions(
        history=show_history,
        past_ticket=show_past,
        check=check_record,
        rebuild=rebuild_rows,
        export=export_log,
        checkpoint=sign_now,
        evidence=export_evidence,
        public_keys=lambda: ledger_keys(read_settings()).public(),
        rotate=lambda: ledger_keys(read_settings()).rotate(),
        rotate_outbox=rotate_outbox_key,
        reseal=reseal_outbox,
    )
    actions = Actions(
        serve=serve,
        sign_token=sign_token,
        run_expiry=run_expiry,
        import_users=import_from,
        audit=audit,
        feed=FeedActions(follow=follow_feed, publish=publish_feeds, push=push_alone),
        backup=BackupActions(
            back_up=back_up,
            restore=restore,
            mark_restored=mark_restored,
            check=lambda tell: check_record([], tell),
        ),
        delivery=DeliveryActions(
            deliver=deliver_alone, check_templates=check_templates, render_template=render_template
        ),
        operations=OperationActions(migrate=migrate, examine=examine),
    )
    return build_cli(actions)


def main() -> None:
    """Run the command line."""
    try:
        command_line()()
    except (
        WrongSettings,
        NoImport,
        Unavailable,
        Refusal,
        LedgerBroken,
        CursorRefused,
        BackupRefused,
    ) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
