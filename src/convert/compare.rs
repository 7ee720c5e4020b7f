//! A whole conversion held against the schema, before there is a line: for `check --solr`. A mistake is what
//! no line could do right; a note, what some lines may do wrong.

use config::Config;
use config::conversion::{Convert, Field as Plan, Fields, Source, Type, Value};

use crate::cast::Steps;
use crate::fits::Checks;
use crate::schema::{Field, Kind, Schema};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It cannot work.
    Mistake,
    /// Some lines may be rejected, or it is as well to know.
    Note,
}

/// Something that conversion and schema do not agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// The keys of the configuration that lead to it.
    pub at: Vec<String>,
    /// What it is and what would be right, in words that begin with neither key nor value.
    pub what: String,
}

/// Holds the conversion against the schema.
pub fn compare(config: &Config, schema: &Schema) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tell = |weight, at: &[&str], what: String| {
        let at = at.iter().map(|key| (*key).to_owned()).collect();
        found.push(Finding { weight, at, what });
    };
    match schema.unique_key.as_deref() {
        Some(key) if key == config.solr.unique_key => {}
        Some(key) => tell(
            Weight::Mistake,
            &["solr", "unique_key"],
            format!("the schema's uniqueKey is {key}: need \"{key}\""),
        ),
        None => tell(
            Weight::Mistake,
            &["solr", "collection"],
            "its schema has no uniqueKey, so Solr would keep each document again and again".into(),
        ),
    }
    if schema.field("_version_").is_none() {
        let what = "its schema has no field _version_, so Solr gives no receipts: add it there";
        tell(Weight::Mistake, &["solr", "collection"], what.into());
    }
    if let Some(Convert::Fields(plan)) = &config.convert {
        let key = &config.solr.unique_key;
        plan.fields.iter().for_each(|field| compare_field(field, schema, &mut tell));
        compare_required(plan, key, schema, &mut tell);
    }
    found
}

/// Takes a finding.
type Tell<'t> = &'t mut dyn FnMut(Weight, &[&str], String);

fn compare_field(plan: &Plan, schema: &Schema, tell: Tell<'_>) {
    let at = ["convert", "fields", plan.name.as_str()];
    let inner = |key: &'static str| [at[0], at[1], at[2], key];
    let is_solrs = plan.name.starts_with('_') && plan.name.ends_with('_');
    let Some(field) = schema.field(&plan.name) else {
        match schema.certain.names {
            _ if is_solrs => {}
            true => tell(Weight::Mistake, &at, unknown(&plan.name, schema)),
            false => tell(
                Weight::Note,
                &at,
                "the schema has no such field; its update chain may make one, or take another"
                    .into(),
            ),
        }
        return;
    };
    let shown = format!("the field is a {}", schema.type_of(field));
    for (key, value) in constants(plan) {
        let json = Steps::constant(plan, value);
        let mut checks = Checks::by(Some(std::sync::Arc::new(schema.clone())));
        checks.begin();
        checks.member(&plan.name, &json);
        if let Some(reason) = checks.end() {
            tell(Weight::Mistake, &inner(key), reason);
        }
    }
    if is_list(plan) && field.is_single && field.kind != Kind::Other && schema.certain.counts {
        let key = if plan.split.is_some() { "split" } else { "from" };
        let what = "makes a list, and the field takes one value: make it multiValued, or take one";
        tell(Weight::Mistake, &inner(key), what.into());
    }
    let Some(made) = Made::of(plan) else { return };
    match (made.goes_into(field), schema.certain.numbers) {
        (Goes::Always, _) => {}
        (Goes::Never(need), true) => {
            tell(Weight::Mistake, &inner(made.key), format!("{shown}: {need}"));
        }
        (Goes::Perhaps(_), _) if made.is_text() && !schema.certain.strings => {}
        (Goes::Perhaps(need) | Goes::Never(need), _) => {
            tell(Weight::Note, &inner(made.key), format!("{shown}: {need}"));
        }
    }
}

fn unknown(name: &str, schema: &Schema) -> String {
    let mut names: Vec<&str> = schema.names().filter(|name| !name.starts_with('_')).collect();
    names.sort_unstable();
    match config::nearest(name, &names) {
        Some(meant) => format!("the schema has no such field: is {meant} meant?"),
        None => "the schema has no such field: add it there, or take another".into(),
    }
}

/// Values that the configuration itself gives, and where.
fn constants(plan: &Plan) -> impl Iterator<Item = (&'static str, &Value)> {
    let value = match &plan.source {
        Source::Value(value) => Some(("value", value)),
        Source::Path(_) | Source::Join { .. } => None,
    };
    value.into_iter().chain(plan.default.as_ref().map(|default| ("default", default)))
}

/// Whether the conversion makes lists.
fn is_list(plan: &Plan) -> bool {
    let through_list = matches!(&plan.source, Source::Path(path) if path.is_many());
    plan.split.is_some() || through_list
}

/// What the conversion makes of every value, where that is known, and by which key.
struct Made {
    kind: Kind,
    key: &'static str,
}

/// Whether what is made goes into a field; if not, what is needed.
enum Goes {
    Always,
    Perhaps(String),
    Never(String),
}

impl Made {
    fn of(plan: &Plan) -> Option<Made> {
        let kind = match (&plan.kind, &plan.source) {
            (Some(Type::String), _) => Kind::String,
            (Some(Type::Int), _) => Kind::Int,
            (Some(Type::Long), _) => Kind::Long,
            (Some(Type::Float), _) => Kind::Float,
            (Some(Type::Double), _) => Kind::Double,
            (Some(Type::Bool), _) => Kind::Bool,
            (Some(Type::Date(_)), _) => Kind::Date,
            (None, Source::Join { .. }) if plan.map.is_none() => Kind::String,
            (None, _) => return None,
        };
        let key = match (&plan.kind, &plan.source) {
            (None, _) => "join",
            (Some(Type::Double), _) if plan.scale.is_some() => "scale",
            (Some(_), Source::Value(_)) => return None, // it was looked at itself
            (Some(_), _) => "type",
        };
        Some(Made { kind, key })
    }

    fn is_text(&self) -> bool {
        matches!(self.kind, Kind::String | Kind::Date)
    }

    fn goes_into(&self, field: Field) -> Goes {
        use Kind::*;
        let never = |what: &str| Goes::Never(format!("no value fits, need {what}"));
        let perhaps = |what: &str, instead: &str| {
            Goes::Perhaps(format!("lines with {what} are rejected; better {instead}"))
        };
        match (self.kind, field.kind) {
            (Text | Other, _) | (_, String | Text | Other) => Goes::Always,
            (String, Int) => perhaps("anything but a whole number", "type = \"int\""),
            (String, Long) => perhaps("anything but a whole number", "type = \"long\""),
            (String, Float | Double) => perhaps("anything but a number", "type = \"double\""),
            (String, Bool) => perhaps("yes or on", "type = \"bool\""),
            (String, Date) => perhaps("anything but a date", "type = \"date\""),
            (Date, Date) | (Bool, Bool) => Goes::Always,
            (Int | Long | Float | Double | Bool, Date) => never("type = \"date\""),
            (Date | Bool, Int | Long) => never("type = \"int\" or \"long\""),
            (Date | Bool, Float | Double) => never("type = \"float\" or \"double\""),
            (Date, Bool) => never("type = \"bool\""),
            (Int | Long | Float | Double, Bool) => perhaps("other than 0 and 1", "type = \"bool\""),
            (Long, Int) => perhaps("numbers beyond 32 bits", "type = \"int\", or a plong"),
            (Float | Double, Int) => perhaps("a fraction", "type = \"int\""),
            (Float | Double, Long) => perhaps("a fraction", "type = \"long\""),
            (Double, Float) => perhaps("numbers beyond 32 bits", "type = \"float\""),
            (Int, Int | Long | Float | Double)
            | (Long, Long | Float | Double)
            | (Float, Float | Double)
            | (Double, Double) => Goes::Always,
        }
    }
}

/// Fields that must be there, and that nothing sets.
fn compare_required(plan: &Fields, key: &str, schema: &Schema, tell: Tell<'_>) {
    let others = || plan.fields.iter().filter(|field| field.name != key);
    let is_update = others().next().is_some() && others().all(|field| field.update.is_some());
    if is_update || plan.keep_all || schema.certain.adds {
        return; // they are there already, or may come
    }
    let is_set = |name: &str| plan.fields.iter().any(|field| field.name == name);
    for name in schema.required.iter().filter(|name| !is_set(name)) {
        let what = format!(
            "{name} is required by the schema, and nothing sets it: Solr refuses each line"
        );
        tell(Weight::Mistake, &["convert", "fields"], what);
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
