# At a boot: enabled before, the service comes up by itself, after the network, and with a Solr that is not there.
# shellcheck shell=sh disable=SC1091,SC2034,SC2317,SC2086
. /opt/t/lib.sh
say "boot"
until_so 'it is active after a boot' systemctl is-active -q solr-updater
is 'it comes after the network' sh -c 'systemctl show solr-updater -p After | grep -q network-online.target'
cycles=$(journalctl -b --no-pager | grep -c 'ordering cycle')
same 'nothing waits for itself' 0 "$cycles"
until_so 'it says how it is, without a Solr' solr-updater status
same 'it was not restarted' 0 "$(systemctl show solr-updater --value -p NRestarts)"
exit "${failed:-0}"
