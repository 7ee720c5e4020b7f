//! What stands between an update and the schema: the update chain, whose processors may make legal what the
//! schema alone would refuse. `add-unknown-fields-to-the-schema` makes fields of unknown names; others trim,
//! cut, parse or drop. Of the ones that Solr brings along it is known what they leave alone; a processor of
//! anybody's own could do anything, so nothing is certain behind one.

use serde_json::Value;

/// What a value's fate still depends on alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certain {
    /// A field that is not in the schema is refused.
    pub names: bool,
    /// Names come through as they are, whatever letters they have.
    pub(crate) odd_names: bool,
    /// Numbers come through as they are.
    pub numbers: bool,
    /// Strings come through as they are, and none is read as something else.
    pub strings: bool,
    /// So does their length.
    pub lengths: bool,
    /// No value of several is dropped.
    pub counts: bool,
    /// Fields may be added that the document has not.
    pub adds: bool,
    /// Why not everything is certain.
    pub because: Option<String>,
}

/// Processors that log, send on or refuse, and change nothing.
const HARMLESS: &[&str] = &[
    "LogUpdateProcessorFactory",
    "DistributedUpdateProcessorFactory",
    "RunUpdateProcessorFactory",
    "NoOpDistributingUpdateProcessorFactory",
    "DocBasedVersionConstraintsProcessorFactory",
];

/// Processors that add what is not there, and change nothing that is.
const ADDERS: &[&str] = &[
    "UUIDUpdateProcessorFactory",
    "TimestampUpdateProcessorFactory",
    "DefaultValueUpdateProcessorFactory",
];

/// Processors that read strings as something else; what they cannot read they leave.
const READERS: &[&str] = &[
    "ParseBooleanFieldUpdateProcessorFactory",
    "ParseIntFieldUpdateProcessorFactory",
    "ParseLongFieldUpdateProcessorFactory",
    "ParseFloatFieldUpdateProcessorFactory",
    "ParseDoubleFieldUpdateProcessorFactory",
    "ParseDateFieldUpdateProcessorFactory",
];

/// Processors that change strings.
const EDITORS: &[&str] = &[
    "TrimFieldUpdateProcessorFactory",
    "TruncateFieldUpdateProcessorFactory",
    "HTMLStripFieldUpdateProcessorFactory",
    "RegexReplaceProcessorFactory",
];

impl Certain {
    /// The schema alone decides.
    pub fn all() -> Certain {
        Certain {
            names: true,
            odd_names: true,
            numbers: true,
            strings: true,
            lengths: true,
            counts: true,
            adds: false,
            because: None,
        }
    }

    /// Nobody knows what becomes of anything.
    pub fn unknown(why: impl Into<String>) -> Certain {
        Certain {
            names: false,
            odd_names: false,
            numbers: false,
            strings: false,
            lengths: false,
            counts: false,
            adds: true,
            because: Some(why.into()),
        }
    }

    /// Whether anything is.
    pub fn is_any(&self) -> bool {
        self.names || self.numbers || self.strings || self.lengths || self.counts
    }

    /// By the configuration of a collection: of the chain that its `/update` uses.
    pub(crate) fn read(config: &Value) -> Certain {
        let handler = &config["requestHandler"]["/update"];
        // Whoever does not expand parameters says nothing about them.
        if !handler["_effectiveParams_"].is_object() {
            return Certain::unknown("the parameters of /update cannot be read");
        }
        let ours = "solr.UpdateRequestHandler";
        if handler["class"].as_str().is_some_and(|class| class != ours) {
            return Certain::unknown("its /update is no UpdateRequestHandler");
        }
        // initParams are not among the effective parameters, whatever those are called.
        let mut names = Vec::new();
        if !(chains_of(handler, &mut names) && chains_of(&config["initParams"], &mut names)) {
            return Certain::unknown("its /update has processors of its own");
        }
        let chains = list(&config["updateRequestProcessorChain"]);
        let mut certain = match chains.iter().filter(is_default).collect::<Vec<_>>()[..] {
            [] => Certain::all(), // Solr's own: log, distribute, run
            [chain] => Certain::of(chain, config),
            _ => return Certain::unknown("it has several default update chains"),
        };
        // (Which of several it is depends on paths; what all of them leave alone is certain.)
        for name in names {
            match chains.iter().find(|chain| chain["name"] == name) {
                Some(chain) => certain = certain.meet(Certain::of(chain, config)),
                None => return Certain::unknown(format!("its update chain {name} is not known")),
            }
        }
        certain
    }

    /// What is certain behind both.
    fn meet(self, other: Certain) -> Certain {
        Certain {
            names: self.names && other.names,
            odd_names: self.odd_names && other.odd_names,
            numbers: self.numbers && other.numbers,
            strings: self.strings && other.strings,
            lengths: self.lengths && other.lengths,
            counts: self.counts && other.counts,
            adds: self.adds || other.adds,
            because: other.because.or(self.because),
        }
    }

    /// By all processors of a chain.
    fn of(chain: &Value, config: &Value) -> Certain {
        let mut certain = Certain::all();
        let name = chain["name"].as_str().unwrap_or("default");
        let known = ["name", "default", "processor", "post-processor", ""];
        let other = chain.as_object().and_then(|c| c.keys().find(|k| !known.contains(&k.as_str())));
        if let Some(other) = other {
            return Certain::unknown(format!("its update chain {name} has {other}"));
        }
        let is_known = ["processor", "post-processor"]
            .iter()
            .all(|key| is_absent_or(&chain[*key], Value::is_string))
            && is_absent_or(&chain[""], |all| all.is_array() || all.is_object());
        if !is_known {
            return Certain::unknown(format!(
                "the processors of its update chain {name} cannot be read"
            ));
        }
        let elsewhere = chain["processor"].as_str().unwrap_or_default();
        let after = chain["post-processor"].as_str().unwrap_or_default();
        let named = elsewhere.split(',').chain(after.split(','));
        let named = named.map(str::trim).filter(|name| !name.is_empty());
        let classes = named
            .map(|name| {
                let processor = list(&config["updateProcessor"])
                    .into_iter()
                    .find(|processor| processor["name"] == name);
                (name, processor.unwrap_or(&config["updateProcessor"][name]))
            })
            .map(|(name, processor)| processor["class"].as_str().unwrap_or(name))
            .chain(list(&chain[""]).into_iter().map(|p| p["class"].as_str().unwrap_or("?")));
        for class in classes {
            if !certain.pass(class) {
                return Certain::unknown(format!("its update chain {name} has {class}"));
            }
        }
        if (Certain { adds: false, ..certain.clone() }) != Certain::all() {
            certain.because = Some(format!("its update chain {name} changes what it is given"));
        }
        certain
    }

    /// Takes away what is not certain behind a processor; false: nothing is.
    fn pass(&mut self, class: &str) -> bool {
        let solrs = ["solr.", "org.apache.solr.update.processor."];
        let Some(class) = solrs.iter().find_map(|package| class.strip_prefix(package)) else {
            return false;
        };
        match class {
            harmless if HARMLESS.contains(&harmless) => {}
            adder if ADDERS.contains(&adder) => self.adds = true,
            reader if READERS.contains(&reader) => self.strings = false,
            editor if EDITORS.contains(&editor) => (self.strings, self.lengths) = (false, false),
            "RemoveBlankFieldUpdateProcessorFactory" => {
                (self.strings, self.counts) = (false, false);
            }
            "FieldNameMutatingUpdateProcessorFactory" => {
                (self.names, self.odd_names) = (false, false);
            }
            "AddSchemaFieldsUpdateProcessorFactory" => self.names = false,
            _ => return false,
        }
        true
    }
}

/// The update chains that parameters name, wherever they stand in there; false: they name processors, or
/// what cannot be read.
fn chains_of<'c>(parameters: &'c Value, names: &mut Vec<&'c str>) -> bool {
    match parameters {
        Value::Array(all) => all.iter().all(|one| chains_of(one, names)),
        Value::Object(all) => all.iter().all(|(key, value)| match key.as_str() {
            "processor" | "post-processor" => false,
            "update.chain" => value.as_str().map(|name| names.push(name)).is_some(),
            _ => chains_of(value, names),
        }),
        _ => true,
    }
}

fn is_absent_or(value: &Value, is_known: impl Fn(&Value) -> bool) -> bool {
    value.is_null() || is_known(value)
}

/// The plugins of one kind: a list, one alone, or by name.
fn list(plugins: &Value) -> Vec<&Value> {
    match plugins {
        Value::Array(all) => all.iter().collect(),
        Value::Object(one) if one.contains_key("name") || one.contains_key("class") => {
            vec![plugins]
        }
        Value::Object(by_name) => by_name.values().collect(),
        _ => Vec::new(),
    }
}

/// Whether it is taken where none is named. (One without a name is, too.)
fn is_default(chain: &&&Value) -> bool {
    let default = &chain["default"];
    default == true || *default == "true" || chain["name"].as_str().is_none_or(str::is_empty)
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
