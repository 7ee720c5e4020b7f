# In a clean root, by chroot: installed, configured, upgraded, removed, purged; with no systemd running.
# shellcheck shell=sh disable=SC1091,SC2034,SC2317,SC2086
. /opt/t/lib.sh
export DEBIAN_FRONTEND=noninteractive
toml=/etc/solr-updater/solr-updater.toml spool=/var/spool/solr-updater
files() { # all of the system, but what dpkg and apt keep for themselves
  find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /opt -o -path /var/lib/dpkg \
    -o -path /var/cache -o -path /var/log -o -path /var/lib/apt -o -path /run \) -prune -o -print | sort
}
install() { apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends install "$@" 2>&1; }
mode() { stat -c '%a %U:%G' "$1"; }

files >/tmp/before
said=$(install /opt/t/new.deb) || { echo "$said"; exit 1; }
say "installed, and not configured"
has 'it says how to configure it' "editor $toml" "$said"
has 'and how to start it' 'systemctl enable --now solr-updater' "$said"
same 'it is not enabled' disabled "$(systemctl is-enabled solr-updater)"
is 'there is a user' getent passwd solr-updater
same 'the spool is for its group' '2770 solr-updater:solr-updater' "$(mode $spool)"
same 'and incoming/ too' '2770 solr-updater:solr-updater' "$(mode $spool/incoming)"
same 'credentials are for root' '700 root:root' "$(mode /etc/solr-updater/credentials)"
sed -i 's|^urls = .*|urls = ["http://127.0.0.1:18983/solr"]|; s|^collection = .*|collection = "deltas"|' $toml
is 'with the two values set, the configuration is right' solr-updater check
for unit in solr-updater.service solr-updater@offers.service; do
  same "systemd has nothing to say about $unit" '' "$(systemd-analyze --man=no verify $unit 2>&1)"
  is "its exposure is 1.0 or less" systemd-analyze security --offline=true --threshold=10 "$unit"
done

say "as another user"
useradd -r nagios
said=$(su -s /bin/sh nagios -c /usr/lib/nagios/plugins/check_updater); code=$?
same 'the plugin runs as nagios, and is CRITICAL without a daemon' 2 $code
has 'and says so' 'UPDATER CRITICAL - no daemon' "$said"
useradd -r -G solr-updater producer
is 'a producer in the group hands over' su -s /bin/sh producer -c "echo '{\"id\":\"1\"}' >$spool/incoming/.a && mv $spool/incoming/.a $spool/incoming/a.jsonl"
same 'what it hands over is of the group' 'producer:solr-updater' "$(stat -c %U:%G $spool/incoming/a.jsonl)"
is 'others see nothing of the spool' sh -c "! su -s /bin/sh nagios -c 'ls $spool'"

say "upgraded, removed, purged"
is 'it is upgraded' install /opt/t/newer.deb
is 'the configuration is as it was' grep -q '^collection = "deltas"' $toml
is 'what waits still does' test -s $spool/incoming/a.jsonl
is 'it is removed' apt-get -q -y remove solr-updater
is 'the configuration stays' test -f $toml
is 'what waits stays' test -s $spool/incoming/a.jsonl
said=$(apt-get -q -y purge solr-updater 2>&1); code=$?
same 'it is purged, and asks nothing' 0 $code
has 'of a spool with something in it there is a notice' "$spool/incoming still has files" "$said"
is 'and that spool stays' test -s $spool/incoming/a.jsonl
is 'the user to whom it belongs stays' getent passwd solr-updater
is 'it is installed again' install /opt/t/new.deb
rm $spool/incoming/a.jsonl
is 'and purged with an empty spool' apt-get -q -y purge solr-updater
is 'then the user is gone' sh -c '! getent passwd solr-updater'
userdel producer; userdel nagios
files >/tmp/after
# (Backups of passwd, group and shadow are those programs' own; systemd keeps a state of units it has seen.)
same 'and nothing else is left' '' \
  "$(diff /tmp/before /tmp/after | grep '^[<>]' | grep -vE '/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|/etc/.pwd.lock' | tr '\n' ' ')"
exit "${failed:-0}"
