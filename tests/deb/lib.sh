# What the scripts in the root and in the machine share: waiting with a deadline, and saying what failed.
# shellcheck shell=sh disable=SC2034

failed=0
say() { echo "-- $*"; }
is() { # WHAT COMMAND...: it has to succeed
  what=$1; shift
  if "$@" >/tmp/is.log 2>&1; then echo "ok      $what"
  else failed=1; echo "FAILED  $what ($*: $(tail -n 3 /tmp/is.log | tr '\n' ' '))"; fi
}
same() { # WHAT WANTED FOUND
  if [ "$2" = "$3" ]; then echo "ok      $1"
  else failed=1; echo "FAILED  $1: wanted '$2', found '$3'"; fi
}
has() { # WHAT WORDS TEXT
  case $3 in *"$2"*) echo "ok      $1" ;; *) failed=1; echo "FAILED  $1: no '$2' in: $3" ;; esac
}
until_so() { # WHAT COMMAND...: within two minutes
  what=$1 left=600; shift
  until "$@" >/tmp/until.log 2>&1; do
    left=$((left - 1))
    [ $left -gt 0 ] || { failed=1; echo "FAILED  $what: not in two minutes ($*)"; return; }
    sleep 0.2
  done
  echo "ok      $what"
}
