//! How it grows: with workers of ours, and with shards of Solr's.

use serde_json::{Value, json};

use crate::Result;
use crate::cluster::Cluster;
use crate::contenders::{Contender, Record, Tools, warm_up};
use crate::data::{self, Data};
use crate::peers::{medians, tools};
use crate::workshop::Workshop;

/// The ceiling that is measured beside it.
const CEILING: Contender = Contender::Raw { connections: 2, commands: false, versions: false };

/// One to four workers, on two nodes with two shards.
pub(crate) fn workers(workshop: &Workshop) -> Result<Value> {
    let contenders: Vec<Contender> =
        (1..=4).map(|n| Contender::Feed { workers: Some(n) }).collect();
    let cluster = Cluster::of(workshop, 2)?;
    let tools = tools(workshop)?;
    let mut found = Vec::new();
    for data in data::both(workshop)? {
        println!("{}, 2 nodes, 2 shards", data.name);
        warm_up(&tools, &cluster, 2, &data)?;
        let runs = rounds(&tools, &cluster, &contenders, &[2], &data)?;
        let medians = medians(&runs.iter().map(|(_, run)| run).collect::<Vec<_>>());
        found.push(json!({"data": data.to_json(), "medians": medians}));
    }
    Ok(json!(found))
}

/// One, two and four shards on two nodes, beside the ceiling.
pub(crate) fn shards(workshop: &Workshop) -> Result<Value> {
    let contenders = [Contender::Feed { workers: None }, CEILING];
    let cluster = Cluster::of(workshop, 2)?;
    let tools = tools(workshop)?;
    let mut found = Vec::new();
    for data in data::both(workshop)? {
        println!("{}, 2 nodes", data.name);
        warm_up(&tools, &cluster, 2, &data)?;
        let numbers = [1, 2, 4];
        let runs = rounds(&tools, &cluster, &contenders, &numbers, &data)?;
        for number in numbers {
            let of: Vec<&Record> =
                runs.iter().filter(|(shards, _)| *shards == number).map(|(_, run)| run).collect();
            let medians = medians(&of);
            found.push(json!({"data": data.to_json(), "shards": number, "medians": medians}));
        }
    }
    Ok(json!(found))
}

/// Each once a round; the numbers of shards with what was measured there.
fn rounds(
    tools: &Tools<'_>,
    cluster: &Cluster<'_>,
    contenders: &[Contender],
    shards: &[usize],
    data: &Data,
) -> Result<Vec<(usize, Record)>> {
    let mut runs = Vec::new();
    for round in 1..=tools.workshop.rounds {
        for number in shards {
            for contender in contenders {
                let record = contender.feed(tools, cluster, *number, data, round)?;
                print!("{number} shard(s)");
                record.tell();
                runs.push((*number, record));
            }
        }
    }
    Ok(runs)
}
