//! The command line, and what becomes of it. Everything that runs before a fork lives in `parent`;
//! here is only who plays which role.

mod ask;
mod check;
mod cli;
mod dry;
mod feed;
mod lists;
mod offline;
mod undone;
mod watch;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use config::Config;
use parent::{Options, Outcome, Parent, Role, Task};
use std::process::ExitCode;

/// The configuration is wrong, or its spool cannot be used (sysexits.h: EX_CONFIG).
const CONFIG: u8 = 78;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let code = match &cli.command {
        Command::Run => run(&cli),
        Command::Check { solr } => check::check(&cli, *solr),
        Command::Feed(what) => feed::feed(&cli, what),
        Command::Convert { file } => dry::convert(&cli, file),
        Command::Status { watch: true, .. } => watch::watch(&cli),
        Command::Status { json, .. } => ask::status(&cli, *json),
        Command::Reload => ask::reload(&cli),
        Command::Pause => ask::pause(&cli),
        Command::Resume => ask::resume(&cli),
        Command::Stop => ask::stop(&cli),
        Command::Rejects { name, json } => lists::rejects(&cli, name.as_deref(), *json),
        Command::Cancel { name } => undone::cancel(&cli, name),
        Command::Retry { names, force } => undone::retry(&cli, names, *force),
        Command::Drop(names) => undone::drop(&cli, names),
        Command::History { n, json } => lists::history(&cli, *n, *json),
        Command::Completions { shell } => completions(*shell),
    };
    code.unwrap_or_else(|trouble| {
        eprintln!("{}", trouble.message);
        ExitCode::from(trouble.code)
    })
}

/// Why a command did not do what it should.
struct Trouble {
    code: u8,
    /// What happened and what to do; a line for each mistake.
    message: String,
}

impl Trouble {
    fn new(code: u8, message: impl Into<String>) -> Trouble {
        Trouble { code, message: format!("solr-updater: {}", message.into()) }
    }
}

fn load(cli: &Cli) -> Result<Config, Trouble> {
    config::load(cli.config())
        .map_err(|mistakes| Trouble { code: CONFIG, message: mistakes.to_string() })
}

/// Makes the conversion once, for its mistakes: a program's only show then.
fn judge_conversion(config: &Config) -> Result<(), Trouble> {
    let made = conversion(config);
    made.map(drop).map_err(|mistakes| Trouble { code: CONFIG, message: mistakes.to_string() })
}

/// What makes documents, if all that it needs is there.
fn conversion(config: &Config) -> Result<convert::Converter, config::Mistakes> {
    if let Some(config::conversion::Convert::Exec(command)) = &config.convert {
        exec::Exec::judge(command)?;
    }
    convert::Converter::new(config)
}

fn run(cli: &Cli) -> Result<ExitCode, Trouble> {
    let outcome = deliver(Options { config: load(cli)?, task: Task::Serve })?;
    match outcome.reason {
        Some(reason) => Err(Trouble::new(outcome.code as u8, reason)),
        None => Ok(ExitCode::from(outcome.code as u8)),
    }
}

/// Runs parent, workers and monitor. Only the parent returns.
fn deliver(options: Options) -> Result<Outcome, Trouble> {
    let parent = Parent::start(options).map_err(|e| Trouble::new(e.code as u8, e.message))?;
    match parent.run() {
        Role::Parent(outcome) => Ok(outcome),
        Role::Worker(seat) => sys::role(move || {
            // Held until the process is gone: while a child lives, the spool is not free.
            let _lock = seat.lock;
            worker::run(worker::Seat {
                config: seat.config,
                spool: seat.spool,
                board: seat.board,
                generation: seat.generation,
                slot: seat.slot,
                pipe: seat.pipe,
                log: seat.log,
                newborn: seat.newborn,
                patience: match seat.is_awaited {
                    true => worker::Patience::Feed,
                    false => worker::Patience::Daemon,
                },
            })
        }),
        Role::Monitor(seat) => sys::role(move || {
            let _lock = seat.lock;
            monitor::run(monitor::Seat {
                config: seat.config,
                spool: seat.spool,
                board: seat.board,
                pipe: seat.pipe,
                status: seat.status,
                control: seat.control,
                http: seat.http,
                log: seat.log,
                newborn: seat.newborn,
            })
        }),
    }
}

/// Prints what a shell needs to complete a command line.
fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Trouble> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    ask::print(&String::from_utf8_lossy(&script))
}
