#!/bin/bash
# `tickets` on a host where tickets.service runs it. Installed as /usr/local/sbin/tickets, it runs a command as the
# service itself would: with its settings and secrets, as its user, in its directory /var/lib/tickets, confined like it:
#
#     sudo tickets doctor
#
# All of that is taken from the unit as systemd has it, drop-ins included, so that it is written down once.
set -euo pipefail
unit=tickets.service
command=tickets-command-$$

# How a service is started, stopped and supervised is not how a command is; all else in [Service] is.
properties() {
  systemctl cat -- "$unit" | sed --regexp-extended --quiet "
    /^\[/ { h; d }
    G; /\n\[Service\]$/ !d; s/\n.*//
    /^(Exec|Type=|Restart|Kill|Timeout|NotifyAccess=|SuccessExitStatus=|WatchdogSec=)/ d
    # A command has no specifiers: these are what the unit's own stand for.
    s|%S|/var/lib|g; s|%d|/run/credentials/$command.service|g
    s/^[A-Z][A-Za-z]*=/--property=&/p"
}

said=$(properties)
mapfile -t properties <<< "$said"
# Whoever interrupts this means the command, which is no child of it.
trap 'systemctl stop -- "$command.service" || true' INT TERM HUP
# systemd would put variables in the place of $NAME.
systemd-run --quiet --collect --wait --pipe --service-type=exec --unit="$command" "${properties[@]}" \
  -- /opt/tickets/bin/tickets "${@//\$/\$\$}"
