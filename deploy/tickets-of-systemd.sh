#!/bin/bash
# `tickets` on a host where tickets.service runs it. Installed as /usr/local/sbin/tickets, it runs a command as the
# service itself would: with its settings and secrets, as its user, in its directory /var/lib/tickets, confined like it:
#
#     sudo tickets doctor
#
# All of that is read from the loaded unit, including drop-ins, so that it is defined once.
set -euo pipefail
unit=tickets.service
command=tickets-command-$$

# Start, stop and supervision differ for a command; all other properties of [Service] apply.
properties() {
  systemctl cat -- "$unit" | sed --regexp-extended --quiet "
    /^\[/ { h; d }
    G; /\n\[Service\]$/ !d; s/\n.*//
    /^(Exec|Type=|Restart|Kill|Timeout|NotifyAccess=|SuccessExitStatus=|WatchdogSec=)/ d
    # A command has no specifiers: replace those of the unit by their values.
    s|%S|/var/lib|g; s|%d|/run/credentials/$command.service|g
    s/^[A-Z][A-Za-z]*=/--property=&/p"
}

lines=$(properties)
mapfile -t properties <<< "$lines"
# An interrupt must stop the command, which is not a child of this shell.
trap 'systemctl stop -- "$command.service" || true' INT TERM HUP
# systemd would expand $NAME.
systemd-run --quiet --collect --wait --pipe --service-type=exec --unit="$command" "${properties[@]}" \
  -- /opt/tickets/bin/tickets "${@//\$/\$\$}"
