//! Who we are to Solr: the `Authorization` header, made of files that the worker reads when it
//! starts. What is in them never reaches a log, an error or the status.

use std::fmt;
use std::path::Path;

use base64::Engine;

/// No secret is longer, in bytes: what is, is another file by mistake.
const LONGEST: usize = 8 * 1024;

/// The value of an `Authorization` header. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authorization(String);

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(…)")
    }
}

impl Authorization {
    /// What the configuration asks for; else one line that names the file and what to do.
    pub(crate) fn read(solr: &config::Solr) -> Result<Option<Authorization>, String> {
        if let Some(path) = &solr.token_file {
            let token = read("solr.token_file", path)?;
            if token.bytes().any(|b| !b.is_ascii_graphic()) {
                return Err(wrong("solr.token_file", path, "is no token: need one word of ASCII"));
            }
            return Ok(Some(Authorization(format!("Bearer {token}"))));
        }
        match (&solr.username, &solr.password_file) {
            (Some(user), Some(path)) => {
                let password = read("solr.password_file", path)?;
                let pair = format!("{user}:{password}");
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                Ok(Some(Authorization(format!("Basic {pair}"))))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn header(&self) -> &str {
        &self.0
    }
}

fn read(key: &str, path: &Path) -> Result<String, String> {
    let remedy = "give the user that runs solr-updater the right to read it, or name another file";
    let bytes = sys::files::open_regular(path, true)
        .and_then(|file| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(
                &mut std::io::Read::take(file, LONGEST as u64 + 1),
                &mut bytes,
            )?;
            Ok(bytes)
        })
        .map_err(|e| wrong(key, path, &format!("{e}: {remedy}")))?;
    let text = match String::from_utf8(bytes) {
        Ok(text) if text.len() <= LONGEST => text,
        _ => return Err(wrong(key, path, "is no text of up to 8 KiB")),
    };
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(wrong(key, path, "is empty")),
        secret => Ok(secret.to_owned()),
    }
}

fn wrong(key: &str, path: &Path, what: &str) -> String {
    format!("{key}: {}: {what}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solr(username: Option<&str>, password: Option<&Path>, token: Option<&Path>) -> config::Solr {
        let url = "http://localhost:8983/solr".to_string();
        let config = config::Config::for_feed(vec![url], "c".into()).unwrap();
        config::Solr {
            username: username.map(String::from),
            password_file: password.map(Into::into),
            token_file: token.map(Into::into),
            ..config.solr
        }
    }

    #[test]
    fn secrets_are_read_without_their_newline_and_shown_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "open sesame\r\n").unwrap();
        let basic =
            Authorization::read(&solr(Some("Aladdin"), Some(&path), None)).unwrap().unwrap();
        assert_eq!(basic.header(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="); // RFC 7617
        assert_eq!(format!("{basic:?}"), "Authorization(…)");
        std::fs::write(&path, "abc.def\n").unwrap();
        let bearer = Authorization::read(&solr(None, None, Some(&path))).unwrap().unwrap();
        assert_eq!(bearer.header(), "Bearer abc.def");
        assert_eq!(Authorization::read(&solr(None, None, None)), Ok(None));
    }

    #[test]
    fn an_unreadable_secret_is_named_and_never_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let refused = || Authorization::read(&solr(None, None, Some(&path))).unwrap_err();
        assert!(refused().starts_with(&format!("solr.token_file: {}: ", path.display())));
        for bad in ["", "\n", "two words", "a\nb"] {
            std::fs::write(&path, bad).unwrap();
            assert!(bad.trim().is_empty() || !refused().contains(bad), "{}", refused());
        }
        std::fs::write(&path, vec![b'x'; LONGEST + 1]).unwrap();
        assert!(refused().contains("8 KiB"));
    }
}
