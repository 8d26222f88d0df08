"""The command line `tickets`, wired."""

import typer

from application.record.ledger import LedgerBroken
from application.shared.errors import Unavailable
from application.users.import_users import InvalidImportFile
from domain.shared.errors import Refusal
from interface.cli.core.commands import Actions, build_cli
from interface.cli.core.messages import fail
from interface.cli.delivery.commands import DeliveryActions
from interface.cli.feed.commands import FeedActions
from interface.cli.operations.backup import BackupActions
from interface.cli.operations.commands import OperationActions
from interface.cli.record.commands import AuditActions
from interface.composition.backup import back_up, mark_restored, restore
from interface.composition.delivery import (
    check_templates,
    deliver_alone,
    render_template,
    reseal_outbox,
    rotate_outbox_key,
)
from interface.composition.feed import follow_feed, publish_feeds, push_alone
from interface.composition.operations import examine, migrate
from interface.composition.record import (
    check_record,
    export_evidence,
    export_log,
    rebuild_rows,
    show_history,
    show_past,
    sign_now,
)
from interface.composition.server import serve, sign_token
from interface.composition.service import ledger_keys
from interface.composition.users import import_from, run_expiry
from interface.outbound.files.cursor_file import CursorRefused
from interface.outbound.sql.sqlite_backup import BackupRefused
from interface.settings import InvalidSettings, read_settings


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
        InvalidSettings,
        InvalidImportFile,
        Unavailable,
        Refusal,
        LedgerBroken,
        CursorRefused,
        BackupRefused,
    ) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
