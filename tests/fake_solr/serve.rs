//! The fake Solr as a program, for tests that no Rust is in: tests/deb runs it inside of a machine.
//!
//! It prints its address. Then for each line on its standard input, a number N, it says whether it has
//! the documents `0` to N-1 and nothing else: `all`, or `N, has M, among them I of the asked`.

use std::io::BufRead;

use fake_solr::FakeSolr;

fn main() {
    let solr = FakeSolr::up();
    println!("{}", solr.url());
    for line in std::io::stdin().lock().lines() {
        let Ok(wanted) = line.unwrap_or_default().trim().parse::<usize>() else { continue };
        let docs = solr.docs();
        let among = (0..wanted).filter(|id| docs.contains_key(&id.to_string())).count();
        match among == wanted && docs.len() == wanted {
            true => println!("all"),
            false => println!("{wanted}, has {}, among them {among} of the asked", docs.len()),
        }
    }
}
