//! Where requests go: a node, or a leader's core on it, and the forms of a request to it.

use crate::receipt::{NO_COLLECTION, Wait};

/// What is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Documents and deletes.
    Update,
    /// Nothing, to see whether it would be taken.
    Probe,
    /// A hard commit.
    Commit,
    /// What version documents have.
    Versions,
}

/// A request of its own, beside the batches: any node will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Errand {
    /// To see whether updates would be taken.
    Probe,
    /// A hard commit.
    Commit,
    /// The versions of the documents that this form names.
    Versions(Vec<u8>),
}

impl Errand {
    pub(crate) fn request(&self) -> Request {
        match self {
            Errand::Probe => Request::Probe,
            Errand::Commit => Request::Commit,
            Errand::Versions(_) => Request::Versions,
        }
    }
}

/// How requests are made, the same for every node.
#[derive(Debug, Clone)]
pub(crate) struct Forms {
    collection: String,
    unique_key: String,
    within: String,
}

/// One place that takes requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// What it is called: `http://host:port/solr`, of a leader with its core behind it.
    pub(crate) name: String,
    /// Whether it is a leader, that keeps what it is sent and says so for each document.
    pub(crate) leads: bool,
    collection: String,
    update: String,
    plain: String,
    commit: String,
    versions: String,
}

impl Forms {
    pub(crate) fn new(solr: &config::Solr) -> Forms {
        let within = match solr.commit {
            config::Commit::Within(time) => format!("&commitWithin={}", time.as_millis()),
            config::Commit::Delta | config::Commit::None => String::new(),
        };
        let (collection, unique_key) = (solr.collection.clone(), solr.unique_key.clone());
        Forms { collection, unique_key, within }
    }

    /// A node that passes on what is not its own.
    pub(crate) fn any(&self, base: &str) -> Node {
        self.node(base, &format!("{base}/{}", self.collection), false)
    }

    /// A shard's leader.
    pub(crate) fn leader(&self, core: &str) -> Node {
        self.node(core, core, true)
    }

    fn node(&self, name: &str, at: &str, leads: bool) -> Node {
        // Whatever the collection's own defaults are, this is the form that is read.
        let plain = format!("{at}/update?wt=json&json.nl=flat&indent=off");
        // A leader says what it has itself; a replica might not have it yet.
        let local = if leads { "&distrib=false" } else { "" };
        let fields = format!("{},_version_", self.unique_key);
        let read = "wt=json&json.nl=flat&indent=off&expandMacros=false"; // ${x} is an id as any other
        Node {
            name: name.to_owned(),
            leads,
            collection: self.collection.clone(),
            update: format!("{plain}&versions=true{}", self.within),
            commit: format!("{plain}&commit=true"),
            versions: format!("{at}/get?{read}&fl={fields}{local}"),
            plain,
        }
    }
}

impl Node {
    pub(crate) fn url(&self, request: Request) -> &str {
        match request {
            Request::Update => &self.update,
            Request::Probe => &self.plain,
            Request::Commit => &self.commit,
            Request::Versions => &self.versions,
        }
    }

    /// Why a request waits, with the place it was about.
    pub(crate) fn describe(&self, wait: &Wait) -> String {
        match wait.reason.as_str() {
            NO_COLLECTION if self.leads => format!("{}: the core is gone (HTTP 404)", self.name),
            NO_COLLECTION => format!(
                "collection {} not found at {}: create it or set solr.collection",
                self.collection, self.name
            ),
            reason => format!("{}: {reason}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_names_the_place_and_the_remedy() {
        let config = config::Config::for_feed(vec!["http://a/solr".into()], "offers".into());
        let forms = Forms::new(&config.unwrap().solr);
        let node = forms.any("http://a/solr");
        assert_eq!(
            node.describe(&Wait::passing("connection refused")),
            "http://a/solr: connection refused"
        );
        assert_eq!(
            node.describe(&Wait::standing(NO_COLLECTION)),
            "collection offers not found at http://a/solr: create it or set solr.collection"
        );
        assert_eq!(
            node.url(Request::Update),
            "http://a/solr/offers/update?wt=json&json.nl=flat&indent=off&versions=true&commitWithin=10000"
        );
        assert_eq!(
            forms.leader("http://a/solr/offers_shard1_replica_n1").url(Request::Probe),
            "http://a/solr/offers_shard1_replica_n1/update?wt=json&json.nl=flat&indent=off"
        );
        assert_eq!(
            forms.leader("http://a/solr/offers_shard1_replica_n1").url(Request::Versions),
            "http://a/solr/offers_shard1_replica_n1/get?wt=json&json.nl=flat&indent=off&expandMacros=false&fl=id,_version_&distrib=false"
        );
    }
}
