//! The ceiling: bodies that were built before are posted straight to each shard's leader, as fast
//! as Solr takes them. It believes any 200, so nobody should feed by it.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use kit::http::Connection;
use kit::shards::{self, Shard};
use kit::{cpu_seconds, ids};
use nix::sys::resource::UsageWho;
use serde_json::json;

const USAGE: &str = "\
usage: raw-post URL COLLECTION FILE [--connections N] [--batch N] [--commands] [--versions] [--any]

Posts FILE's lines in bodies of --batch (1000) over --connections (2), as a list of documents or as
--commands ({\"add\":{\"doc\":…},…}), with or without versions=true, to the leaders, or to --any: all of
them to URL, in the file's order. It prints \"begin\" when the bodies are built, and \"end {…}\".
";

struct Options {
    url: String,
    collection: String,
    file: PathBuf,
    connections: usize,
    batch: usize,
    commands: bool,
    versions: bool,
    any: bool,
}

/// Documents for one shard, and their number.
struct Body {
    path: Arc<str>,
    docs: usize,
    bytes: Vec<u8>,
}

/// One node's bodies, taken by whichever of its connections is next.
struct Queue {
    host: String,
    bodies: Vec<Body>,
    next: AtomicUsize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(options) = options() else {
        eprint!("{USAGE}");
        std::process::exit(2);
    };
    let queues = build(&options)?;
    let mut connections = Vec::new();
    for n in 0..options.connections.max(queues.len()) {
        let queue = &queues[n % queues.len()];
        connections.push((queue, Connection::open(&queue.host)?));
    }
    println!("begin");
    io::stdout().flush()?;
    let (start, cpu) = (Instant::now(), cpu_seconds(UsageWho::RUSAGE_SELF));
    let docs = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .map(|(queue, connection)| scope.spawn(move || post(queue, connection)))
            .collect();
        let mut docs = 0;
        for thread in threads {
            docs += thread.join().expect("no thread of these panics")?;
        }
        Ok::<usize, io::Error>(docs)
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds(UsageWho::RUSAGE_SELF) - cpu;
    println!("end {}", json!({"docs": docs, "seconds": seconds, "cpu_s": cpu}));
    Ok(())
}

fn options() -> Option<Options> {
    let mut places = Vec::new();
    let mut options = Options {
        url: String::new(),
        collection: String::new(),
        file: PathBuf::new(),
        connections: 2,
        batch: 1000,
        commands: false,
        versions: false,
        any: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next()?.parse().ok().filter(|n: &usize| *n > 0);
        match argument.as_str() {
            "--connections" => options.connections = number()?,
            "--batch" => options.batch = number()?,
            "--commands" => options.commands = true,
            "--versions" => options.versions = true,
            "--any" => options.any = true,
            _ => places.push(argument),
        }
    }
    let [url, collection, file] = <[String; 3]>::try_from(places).ok()?;
    (options.url, options.collection, options.file) = (url, collection, file.into());
    Some(options)
}

/// All bodies, by node; those of a node's shards take turns.
fn build(options: &Options) -> Result<Vec<Queue>, Box<dyn Error>> {
    let shards: Vec<Shard> = match options.any {
        true => Vec::new(),
        false => shards::of(&options.url, &options.collection)?,
    };
    let mut targets: Vec<(&str, &str)> =
        shards.iter().map(|shard| (&*shard.node, &*shard.core)).collect();
    if options.any {
        targets.push((&options.url, &options.collection));
    }
    let mut bodies: Vec<Vec<(usize, Vec<u8>)>> = vec![Vec::new(); targets.len()];
    let text = std::fs::read(&options.file)?;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let id = ids::of_line(line).ok_or("a line does not begin with its id")?;
        let at =
            if options.any { 0 } else { shards::find(&shards, id).ok_or("no shard has it")? };
        append(&mut bodies[at], line, options);
    }
    let mut queues: Vec<Queue> = Vec::new();
    let mut turns: Vec<(usize, usize, Body)> = Vec::new();
    let query = if options.versions { "?wt=json&versions=true" } else { "?wt=json" };
    for ((node, core), bodies) in targets.into_iter().zip(bodies) {
        let (host, path) = kit::http::split(node)?;
        let path: Arc<str> = format!("{path}/{core}/update{query}").into();
        let queue = queues.iter().position(|queue| queue.host == host).unwrap_or_else(|| {
            let (host, bodies, next) = (host.to_owned(), Vec::new(), AtomicUsize::new(0));
            queues.push(Queue { host, bodies, next });
            queues.len() - 1
        });
        for (turn, (docs, mut bytes)) in bodies.into_iter().enumerate() {
            bytes.push(if options.commands { b'}' } else { b']' });
            turns.push((turn, queue, Body { path: Arc::clone(&path), docs, bytes }));
        }
    }
    turns.sort_by_key(|(turn, ..)| *turn);
    for (_, queue, body) in turns {
        queues[queue].bodies.push(body);
    }
    Ok(queues)
}

fn append(bodies: &mut Vec<(usize, Vec<u8>)>, line: &[u8], options: &Options) {
    if bodies.last().is_none_or(|(docs, _)| *docs == options.batch) {
        bodies.push((0, vec![if options.commands { b'{' } else { b'[' }]));
    }
    let (docs, body) = bodies.last_mut().expect("there is one now");
    if *docs > 0 {
        body.push(b',');
    }
    *docs += 1;
    if options.commands {
        body.extend_from_slice(br#""add":{"doc":"#);
    }
    body.extend_from_slice(line);
    if options.commands {
        body.push(b'}');
    }
}

fn post(queue: &Queue, mut connection: Connection) -> io::Result<usize> {
    let mut posted = 0;
    while let Some(body) = queue.bodies.get(queue.next.fetch_add(1, Relaxed)) {
        let (status, answer) = connection.post(&body.path, &body.bytes)?;
        if status != 200 {
            let answer: String = String::from_utf8_lossy(answer).chars().take(300).collect();
            return Err(io::Error::other(format!("{}: HTTP {status}: {answer}", body.path)));
        }
        posted += body.docs;
    }
    Ok(posted)
}
