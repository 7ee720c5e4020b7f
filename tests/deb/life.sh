# Under a systemd of its own, as PID 1: the service started, reloaded, killed, stopped, upgraded; under load, of
# which nothing may be lost. fake-solr is the Solr, and counts.
# shellcheck shell=sh disable=SC1091,SC2034,SC2317,SC2086,SC2016
. /opt/t/lib.sh
toml=/etc/solr-updater/solr-updater.toml spool=/var/spool/solr-updater
unit() { systemctl show solr-updater --value -p "$1"; }
main() { unit MainPID; }
plugin() { su -s /bin/sh nagios -c '/usr/lib/nagios/plugins/check_updater'; }
dropin() { # NAME LINE...
  mkdir -p /etc/systemd/system/solr-updater.service.d
  name=$1; shift
  printf '%s\n' '[Service]' "$@" >"/etc/systemd/system/solr-updater.service.d/$name.conf"
  systemctl daemon-reload
}

mkfifo /tmp/ask; sleep infinity >/tmp/ask &
/opt/t/fake-solr </tmp/ask >/tmp/told & 
until_so 'the fake Solr is up' grep -q http /tmp/told
url=$(head -n 1 /tmp/told)
sed -i "s|^urls = .*|urls = [\"$url\"]|; s|^#count = .*|count = 2|; s|^collection = .*|collection = \"c\"|" $toml
useradd -r nagios; useradd -r -G solr-updater producer
printf 'the password' >/etc/solr-updater/credentials/password

handed=0
hand_over() { # LINES: as a producer does; ids go on
  awk -v from=$handed -v n="$1" 'BEGIN { for (i = from; i < from + n; i++) printf "{\"id\":\"%d\"}\n", i }' >/tmp/delta
  name=$(printf 'd%09d' $handed)
  handed=$((handed + $1)); chmod 644 /tmp/delta
  su -s /bin/sh producer -c "cp /tmp/delta $spool/incoming/.$name && mv $spool/incoming/.$name $spool/incoming/$name.jsonl"
}
solr_has() { # whether it has all that was handed over
  lines=$(wc -l </tmp/told); echo "$1" >/tmp/ask
  left=100
  until [ "$(wc -l </tmp/told)" -gt "$lines" ]; do left=$((left - 1)); [ $left -gt 0 ] || return 1; sleep 0.1; done
  [ "$(tail -n 1 /tmp/told)" = all ]
}
under_way() { [ -n "$(find $spool/active -name '*.jsonl' 2>/dev/null)" ]; }

say "start"
is 'it starts' systemctl enable --now solr-updater
same 'it is active when it has said so' active "$(unit ActiveState)"
has 'it says what it does, for people' settled "$(unit StatusText)"
until_so 'nagios finds it well' plugin
hand_over 1000
until_so 'a delta of a producer arrives' solr_has $handed
P=$(main)
same 'it may do nothing that root may' 0000000000000000 "$(sed -n 's/^CapEff:\t//p' "/proc/$P/status")"
is 'the password is there for it' nsenter -t "$P" -m su -s /bin/sh solr-updater -c 'test "$(cat /run/credentials/solr-updater.service/solr_password)" = "the password"'
is 'and for no other user' sh -c "! su -s /bin/sh producer -c 'cat /run/credentials/solr-updater.service/solr_password'"

say "reload"
is 'it reloads' systemctl reload solr-updater
is 'a member of the group may reload it' su -s /bin/sh producer -c 'solr-updater reload'
is 'another may not' sh -c "! su -s /bin/sh nagios -c 'solr-updater reload'"
cp -p $toml /tmp/good.toml; echo 'nonsense = 1' >>$toml
is 'a bad file fails the reload' sh -c '! systemctl reload solr-updater'
has 'with the reason in the journal' nonsense "$(journalctl -b --no-pager -o cat -u solr-updater | tail -n 20)"
same 'and it goes on' active "$(unit ActiveState)"
said=$(plugin); same 'which is a WARNING' 1 $?
cp -p /tmp/good.toml $toml; is 'the mended file is taken' systemctl reload solr-updater

say "a bad file at the start"
echo 'nonsense = 1' >>$toml
is 'it does not start' sh -c '! systemctl restart solr-updater'
until_so 'and is not tried again' test "$(unit ActiveState)" = failed
same 'with 78' 78 "$(unit ExecMainStatus)"
cp -p /tmp/good.toml $toml; systemctl reset-failed solr-updater; is 'mended, it starts' systemctl start solr-updater

say "kill -9 of the main process under load"
hand_over 200000
until_so 'it is at it' under_way
before=$(unit NRestarts); P=$(main); kill -9 "$P"
until_so 'it is started again' sh -c "test \$(systemctl show solr-updater --value -p NRestarts) -gt $before"
until_so 'and works' plugin
until_so 'nothing is lost' solr_has $handed

say "stop under load"
hand_over 200000
until_so 'it is at it' under_way
is 'it stops' systemctl stop solr-updater
same 'by itself, not by being killed' success "$(unit Result)"
is 'no process is left' sh -c '! pgrep -u solr-updater'
is 'its sockets are gone' test ! -e /run/solr-updater
is 'it starts again' systemctl start solr-updater
until_so 'nothing is lost' solr_has $handed

say "watchdog"
dropin watchdog 'WatchdogSec=3s'
systemctl restart solr-updater; before=$(unit NRestarts); P=$(main); kill -STOP "$P"
until_so 'a parent that stands still is killed and started again' sh -c "test \$(systemctl show solr-updater --value -p NRestarts) -gt $before"
has 'by the watchdog' atchdog "$(journalctl -b --no-pager -o cat -u solr-updater -n 40)"
until_so 'and works' plugin
rm /etc/systemd/system/solr-updater.service.d/watchdog.conf; systemctl daemon-reload

say "upgrade under load"
systemctl restart solr-updater
hand_over 200000
until_so 'it is at it' under_way
P=$(main)
is 'it is upgraded' dpkg -i /opt/t/newer.deb
is 'and was restarted' test "$P" != "$(main)"
until_so 'and works' plugin
until_so 'nothing is lost' solr_has $handed

say "two collections on one host"
sed "s|^dir = .*|dir = \"$spool-offers\"|; s|^\[monitor\]|&\nstatus = { socket = \"/run/solr-updater-offers/status.sock\" }\ncontrol = { socket = \"/run/solr-updater-offers/control.sock\" }|" $toml >/etc/solr-updater/offers.toml
is 'an instance starts' systemctl start solr-updater@offers
same 'it has a spool of its own' '2770 solr-updater:solr-updater' "$(stat -c '%a %U:%G' $spool-offers/incoming)"
is 'it is asked at its own socket' su -s /bin/sh nagios -c '/usr/lib/nagios/plugins/check_updater -s /run/solr-updater-offers/status.sock'
is 'it reloads' systemctl reload solr-updater@offers

say "remove and purge"
is 'it is removed' dpkg -r solr-updater
is 'no process is left' sh -c '! pgrep -u solr-updater'
is 'it is purged' dpkg -P solr-updater
is 'the spools, empty but for what was delivered, are gone' sh -c "! ls -d $spool $spool-offers"
exit "${failed:-0}"
