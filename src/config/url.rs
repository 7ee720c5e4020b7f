//! The words that end up in Solr's URLs: base addresses and the collection. They are judged by
//! hand, without a URL library: what Solr needs of a URL is little, and what else a URL could hold
//! (a query, a fragment, a password) is a mistake here. Nothing is resolved or reached.

use std::net::Ipv6Addr;

/// A base address such as `http://localhost:8983/solr`, its trailing slash trimmed; else what is wrong.
pub(crate) fn base(url: &str) -> Result<String, String> {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return wrong("need http:// at its start, such as \"http://localhost:8983/solr\"");
    };
    if url.contains(|c: char| !c.is_ascii_graphic()) {
        return wrong(
            "a space, a control character or a letter beyond ASCII has no place in a URL",
        );
    }
    if url.contains(['?', '#']) {
        return wrong(
            "need the plain address, without ? or #, such as \"http://localhost:8983/solr\"",
        );
    }
    if rest.contains('@') {
        return wrong("no user or password here, URLs are logged: use username and password_file");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    authority_is_good(authority)?;
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Err(format!(
            "its path is missing: Solr's is /solr, so \"{}/solr\"",
            url.trim_end_matches('/')
        ));
    }
    if path.contains("//") || path.contains(',') {
        return wrong("need one address in each pair of quotes");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// What two spellings of one address have in common: case does not matter in a host (RFC 3986), and
/// `:80` goes without saying.
pub(crate) fn same_as(base: &str) -> String {
    let start = base.find("://").map_or(0, |at| at + 3);
    let end = base[start..].find('/').map_or(base.len(), |at| start + at);
    let authority = base[..end].to_ascii_lowercase();
    let plain = if authority.starts_with("http:") {
        authority.strip_suffix(":80")
    } else {
        authority.strip_suffix(":443")
    };
    format!("{}{}", plain.unwrap_or(&authority), &base[end..])
}

/// The name of a collection or alias, as Solr's `SolrIdentifierValidator` has it.
pub(crate) fn collection(name: &str) -> Result<String, String> {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if name.is_empty() || !letters || name.starts_with('-') || name == "." || name == ".." {
        return wrong(
            "need one collection or alias: letters, digits, . _ - (not first), such as \"offers\"",
        );
    }
    Ok(name.to_owned())
}

fn authority_is_good(authority: &str) -> Result<(), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let Some((address, port)) = v6.split_once(']') else {
                return wrong("the ] after the IPv6 address is missing");
            };
            if address.parse::<Ipv6Addr>().is_err() {
                return wrong("need an IPv6 address between [ and ]");
            }
            (address, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            if host.is_empty() {
                return wrong("its host is missing, such as \"http://localhost:8983/solr\"");
            }
            if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
                return wrong("need a host of letters, digits, . _ - (an IPv6 address in [ ])");
            }
            (host, port)
        }
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(()),
        Some(digits)
            if digits.bytes().all(|b| b.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Ok(())
        }
        None | Some(_) => Err(format!("need a port from 1 to 65535 after {host}, such as :8983")),
    }
}

fn wrong<T>(what: &str) -> Result<T, String> {
    Err(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_without_its_trailing_slash() {
        for (url, taken) in [
            ("http://localhost:8983/solr", "http://localhost:8983/solr"),
            ("http://localhost:8983/solr/", "http://localhost:8983/solr"),
            ("https://lb.example.com/search/solr//", "https://lb.example.com/search/solr"),
            ("http://[::1]:8983/solr", "http://[::1]:8983/solr"),
            ("http://127.0.0.1/solr", "http://127.0.0.1/solr"),
        ] {
            assert_eq!(base(url), Ok(taken.to_owned()));
        }
    }

    #[test]
    fn a_wrong_address_is_told_what_is_wrong_with_it() {
        for (url, why) in [
            ("", "need http://"),
            ("localhost:8983/solr", "need http://"),
            ("ftp://localhost/solr", "need http://"),
            ("http://", "its host is missing"),
            ("http:///solr", "its host is missing"),
            ("http://:8983/solr", "its host is missing"),
            ("http://a b/solr", "a space"),
            ("http://bücher/solr", "a space, a control character or a letter beyond ASCII"),
            ("http://a/solr?x=1", "need the plain address"),
            ("http://a/solr/#/", "need the plain address"),
            ("http://me:secret@a/solr", "no user or password here"),
            ("http://a:8983", "its path is missing: Solr's is /solr, so \"http://a:8983/solr\""),
            ("http://a:8983/", "its path is missing: Solr's is /solr, so \"http://a:8983/solr\""),
            ("http://a:0/solr", "need a port from 1 to 65535 after a"),
            ("http://a:65536/solr", "need a port"),
            ("http://a:/solr", "need a port"),
            ("http://a:+1/solr", "need a port"),
            ("http://::1/solr", "its host is missing"),
            ("http://[::1/solr", "the ] after"),
            ("http://[::g]/solr", "need an IPv6 address"),
            ("http://[::1]8983/solr", "need a port"),
            ("http://a,b/solr", "need a host"),
            ("http://a/solr,http://b/solr", "need one address"),
        ] {
            let said = base(url).unwrap_err();
            assert!(said.starts_with(why), "{url}: {said}");
        }
    }

    #[test]
    fn one_address_in_two_spellings_is_one() {
        assert_eq!(same_as("http://Solr1:80/solr"), same_as("http://solr1/solr"));
        assert_ne!(same_as("http://solr1/solr"), same_as("http://solr1/Solr"));
        assert_ne!(same_as("http://solr1:8980/solr"), same_as("http://solr1:8983/solr"));
        assert_eq!(same_as("http://[::1]:80/solr"), same_as("http://[::1]/solr"));
    }

    #[test]
    fn a_collection_is_named_as_solr_would_have_it() {
        assert_eq!(collection("offers_2024-01.v2"), Ok("offers_2024-01.v2".to_owned()));
        for bad in ["", "-x", "a/b", "a b", "a,b", "..", "ä"] {
            assert!(collection(bad).is_err(), "{bad}");
        }
    }
}
