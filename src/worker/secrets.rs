//! Who we are to Solr, and whom we take for it: the `Authorization` header and what TLS needs
//! (`tls`), made of files that the worker reads when it starts, so again with each reload. What is
//! in them never reaches a log, an error or the status.

use std::fmt;
use std::path::Path;

use base64::Engine;

use crate::tls::Tls;

/// No secret is longer, in bytes: what is, is another file by mistake.
const LONGEST: usize = 8 * 1024;

/// All that the files behind `[solr]` hold. It shows itself to nobody; a copy of it costs little.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    authorization: Option<Authorization>,
    tls: Tls,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// What the configuration asks for; else one line that names the key, the file, what is wrong
    /// with it and what to do.
    pub(crate) fn read(solr: &config::Solr) -> Result<Credentials, String> {
        Ok(Credentials { authorization: Authorization::read(solr)?, tls: Tls::read(solr)? })
    }

    /// The value of the `Authorization` header.
    pub(crate) fn header(&self) -> Option<&str> {
        self.authorization.as_ref().map(Authorization::header)
    }

    pub(crate) fn tls(&self) -> &Tls {
        &self.tls
    }
}

/// The value of an `Authorization` header. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
struct Authorization(String);

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(…)")
    }
}

impl Authorization {
    fn read(solr: &config::Solr) -> Result<Option<Authorization>, String> {
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

    fn header(&self) -> &str {
        &self.0
    }
}

fn read(key: &str, path: &Path) -> Result<String, String> {
    let text = match String::from_utf8(read_file(key, path, LONGEST)?) {
        Ok(text) => text,
        Err(_) => return Err(wrong(key, path, "is no text: name the file with the secret in it")),
    };
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(wrong(key, path, "is empty: write the secret into it")),
        secret => Ok(secret.to_owned()),
    }
}

/// All of a file that a key names, at most so many bytes; else one line with the remedy.
pub(crate) fn read_file(key: &str, path: &Path, most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = sys::files::open_regular(path, true).and_then(|file| {
        let mut file = std::io::Read::take(file, most as u64 + 1);
        std::io::Read::read_to_end(&mut file, &mut bytes)
    });
    match read {
        Ok(_) if bytes.len() <= most => Ok(bytes),
        Ok(_) => {
            let what = format!("is longer than {} KiB: this is another file", most >> 10);
            Err(wrong(key, path, &what))
        }
        Err(_) if path.is_dir() => Err(wrong(key, path, "is a folder: name the file in it")),
        Err(e) => {
            let remedy = "give the user that runs solr-updater the right to read it, or name another \
                          file";
            Err(wrong(key, path, &format!("{e}: {remedy}")))
        }
    }
}

/// What is wrong with the file that a key names.
pub(crate) fn wrong(key: &str, path: &Path, what: &str) -> String {
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
