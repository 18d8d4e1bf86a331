//! The connection's parameters, from the environment alone.

use std::fmt;

use anyhow::Context as _;
use engine::{identifier, literal};

/// A database on a server, and who connects to it.
pub(crate) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) database: String,
    pub(super) ssl_mode: Option<String>,
}

/// Where it is; never with whom or by which password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database {} on {}:{}", self.database, self.host, self.port)
    }
}

/// The extension knows `verify_ca` and `verify_identity` as well, but was seen to accept any certificate with them.
const SSL_MODES: [&str; 3] = ["disabled", "preferred", "required"];

impl Server {
    /// Reads `DB_HOST`, `DB_PORT`, `DB_USER`, `DB_PASSWORD` or `DB_PASSWORD_FILE`, `DB_NAME` and `DB_SSL_MODE`.
    pub(crate) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let given = |name| variable(name).filter(|value| !value.is_empty());
        let (Some(user), Some(database)) = (given("DB_USER"), given("DB_NAME")) else {
            let missing: Vec<_> = ["DB_USER", "DB_NAME"].into_iter().filter(|name| given(name).is_none()).collect();
            let (missing, verb) = (missing.join(" and "), if missing.len() > 1 { "are" } else { "is" });
            anyhow::bail!("{missing} {verb} not set: the environment names the server");
        };
        let port = given("DB_PORT").unwrap_or_else(|| "3306".to_owned());
        let ssl_mode = given("DB_SSL_MODE").map(|mode| mode.to_lowercase());
        if let Some(mode) = &ssl_mode
            && !SSL_MODES.contains(&mode.as_str())
        {
            anyhow::bail!("DB_SSL_MODE is {mode:?}: it must be one of {}", SSL_MODES.join(", "));
        }
        let password = match (given("DB_PASSWORD"), given("DB_PASSWORD_FILE")) {
            (Some(_), Some(_)) => anyhow::bail!("DB_PASSWORD and DB_PASSWORD_FILE are both set: set one of them"),
            (Some(password), None) => password,
            (None, Some(path)) => {
                let text = std::fs::read_to_string(&path).with_context(|| format!("{path}: cannot be read"))?;
                text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
            }
            (None, None) => String::new(),
        };
        Ok(Self {
            host: given("DB_HOST").unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: port.parse().with_context(|| format!("DB_PORT is {port:?}, which is not a port"))?,
            user,
            password,
            database,
            ssl_mode,
        })
    }

    /// The password in every form in which an error may repeat it: plain, in SQL and in the client's own notation.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let quoted = self.password.replace('\'', "''");
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        vec![escape(&quoted), escape(&self.password), quoted, self.password.clone()]
    }

    /// The statement that puts the parameters into the session's memory.
    pub(crate) fn create_secret(&self, name: &str) -> String {
        let mut parameters = format!(
            "TYPE mysql, HOST {}, PORT {}, USER {}, DATABASE {}",
            literal(&self.host),
            self.port,
            literal(&self.user),
            literal(&self.database)
        );
        let optional = [("PASSWORD", Some(&self.password)), ("SSL_MODE", self.ssl_mode.as_ref())];
        for (key, value) in optional {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                parameters.extend([", ", key, " ", &literal(value)]);
            }
        }
        format!("CREATE TEMPORARY SECRET {} ({parameters})", identifier(name))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn server(variables: &[(&str, &str)]) -> anyhow::Result<Server> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        Server::from_environment(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(format!("{:#}", server(&[("DB_NAME", "w")]).err().unwrap()).contains("DB_USER is not set"));
        assert!(format!("{:#}", server(&[("DB_USER", "w")]).err().unwrap()).contains("DB_NAME is not set"));
        assert!(format!("{:#}", server(&[]).err().unwrap()).contains("DB_USER and DB_NAME are not set"));
        let port = server(&[("DB_NAME", "w"), ("DB_USER", "u"), ("DB_PORT", "x")]);
        assert!(format!("{:#}", port.err().unwrap()).contains("DB_PORT"));
        let mode = server(&[("DB_NAME", "w"), ("DB_USER", "u"), ("DB_SSL_MODE", "maybe")]);
        assert!(format!("{:#}", mode.err().unwrap()).contains("one of disabled"));
    }

    #[test]
    fn a_password_comes_from_a_file_without_its_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "it's \"it\"\n").unwrap();
        let path = file.path().to_str().unwrap();
        let server = server(&[("DB_NAME", "w"), ("DB_USER", "u"), ("DB_PASSWORD_FILE", path)]).unwrap();
        assert!(server.create_secret("s").contains("PASSWORD 'it''s \"it\"'"));
        assert!(!server.to_string().contains("it's"));
        assert!(server.secrets().contains(&"it''s \\\"it\\\"".to_owned()));
    }
}
