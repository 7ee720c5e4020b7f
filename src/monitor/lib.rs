//! The monitor: answers on the sockets from the scoreboard and the spool
