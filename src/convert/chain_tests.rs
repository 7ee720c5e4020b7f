use serde_json::json;

use super::*;

/// The configuration of a collection with these chains and parameters.
fn config(chains: Value, parameters: Value) -> Value {
    json!({
        "requestHandler": {"/update": {
            "class": "solr.UpdateRequestHandler", "_effectiveParams_": parameters,
        }},
        "updateRequestProcessorChain": chains,
        "updateProcessor": {
            "uuid": {"name": "uuid", "class": "solr.UUIDUpdateProcessorFactory"},
            "remove-blank": {"name": "remove-blank", "class": "solr.RemoveBlankFieldUpdateProcessorFactory"},
            "names": {"name": "names", "class": "solr.FieldNameMutatingUpdateProcessorFactory"},
            "parse-date": {"name": "parse-date", "class": "solr.ParseDateFieldUpdateProcessorFactory"},
            "add": {"name": "add", "class": "solr.AddSchemaFieldsUpdateProcessorFactory"},
        },
    })
}

/// A default chain of these classes.
fn chain(classes: &[&str]) -> Certain {
    let classes: Vec<Value> = classes.iter().map(|class| json!({"class": class})).collect();
    Certain::read(&config(json!([{"name": "x", "default": "true", "": classes}]), json!({})))
}

#[test]
fn without_a_chain_of_its_own_the_schema_alone_decides() {
    let unused =
        json!([{"name": "tolerant", "": [{"class": "solr.TolerantUpdateProcessorFactory"}]}]);
    let off = json!([{"name": "x", "default": "false", "processor": "add", "": []}]);
    for chains in [Value::Null, json!([]), unused, off] {
        assert_eq!(Certain::read(&config(chains, json!({"wt": "json"}))), Certain::all());
    }
}

#[test]
fn schemaless_leaves_numbers_and_lengths_alone() {
    let schemaless = json!([{
        "name": "add-unknown-fields-to-the-schema", "default": "true",
        "processor": "uuid,remove-blank,names,parse-date,add",
        "": [{"class": "solr.LogUpdateProcessorFactory"}, {"class": "solr.RunUpdateProcessorFactory"}],
    }]);
    let certain = Certain::read(&config(schemaless, json!({})));
    assert!(certain.numbers && certain.lengths && certain.is_any());
    assert!(!certain.names && !certain.odd_names && !certain.strings && !certain.counts);
    assert!(certain.because.unwrap().contains("add-unknown-fields-to-the-schema"));
}

#[test]
fn what_a_processor_changes_is_not_certain_and_nothing_is_behind_a_stranger() {
    assert_eq!(chain(&["solr.RunUpdateProcessorFactory"]), Certain::all());
    let trims = chain(&["org.apache.solr.update.processor.TrimFieldUpdateProcessorFactory"]);
    assert!(trims.numbers && trims.names && !trims.strings && !trims.lengths);
    assert!(chain(&["solr.TimestampUpdateProcessorFactory"]).adds);
    for stranger in [
        "solr.ScriptUpdateProcessorFactory",
        "solr.IgnoreFieldUpdateProcessorFactory",
        "com.example.RunUpdateProcessorFactory",
        "?",
    ] {
        let certain = chain(&["solr.RunUpdateProcessorFactory", stranger]);
        assert!(!certain.is_any(), "{stranger}");
        assert!(certain.because.unwrap().contains(stranger));
    }
}

#[test]
fn the_chain_is_the_one_that_updates_use() {
    let chains = json!([
        {"name": "own", "": [{"class": "com.example.Own"}]},
        {"name": "plain", "": [{"class": "solr.RunUpdateProcessorFactory"}]},
    ]);
    let by = |parameters| Certain::read(&config(chains.clone(), parameters));
    assert_eq!(by(json!({"update.chain": "plain"})), Certain::all());
    for parameters in [
        json!({"update.chain": "own"}),
        json!({"update.chain": "nosuch"}),
        json!({"update.chain": ["own", "plain"]}),
        json!({"processor": "uuid"}),
        json!({"post-processor": "uuid"}),
    ] {
        assert!(!by(parameters.clone()).is_any(), "{parameters}");
    }
}

#[test]
fn parameters_that_are_set_for_all_paths_count_too() {
    let chains = json!([{"name": "own", "": [{"class": "com.example.Own"}]}]);
    let with = |defaults| {
        let mut config = config(chains.clone(), json!({}));
        config["initParams"] = json!([{"name": "p", "path": "/update/**", "defaults": defaults}]);
        Certain::read(&config)
    };
    assert_eq!(with(json!({"df": "text"})), Certain::all());
    for defaults in [json!({"update.chain": "own"}), json!({"processor": "uuid"})] {
        assert!(!with(defaults.clone()).is_any(), "{defaults}");
    }
    let mut config = config(chains, json!({}));
    config["requestHandler"]["/update"]["invariants"] = json!({"update.chain": "own"});
    assert!(!Certain::read(&config).is_any());
}

#[test]
fn what_cannot_be_read_is_not_certain() {
    let two = json!([{"name": "a", "default": true, "": []}, {"": []}]);
    let odd = json!([{"name": "a", "default": true, "processors": ["x"]}]);
    let no_such = json!([{"name": "a", "default": "true", "processor": "nosuch"}]);
    for config in [
        json!({}),
        json!({"requestHandler": {"/update": {"class": "solr.UpdateRequestHandler"}}}),
        json!({"requestHandler": {"/update": {"class": "com.example.Own", "_effectiveParams_": {}}}}),
        config(two, json!({})),
        config(odd, json!({})),
        config(no_such, json!({})),
    ] {
        assert!(!Certain::read(&config).is_any(), "{config}");
    }
}

#[test]
fn processors_in_words_that_are_not_known_leave_nothing_certain() {
    let trim = json!({"class": "solr.TrimFieldUpdateProcessorFactory"});
    for (key, processors) in [
        ("processor", json!([trim])),
        ("processor", trim.clone()),
        ("post-processor", json!(["uuid"])),
        ("", json!("uuid")),
    ] {
        let mut chain = json!({"name": "x", "default": "true"});
        chain[key] = processors;
        assert!(!Certain::read(&config(json!([chain]), json!({}))).is_any(), "{chain}");
    }
}
