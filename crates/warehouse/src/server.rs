//! The parameters of a connection to a server: from the environment, and the password from where it is kept.

use std::fmt;

use anyhow::Context as _;
use cli::Usage;

/// A database on a server, and the user that connects to it.
pub(crate) struct Server {
    /// The host, or the path of a socket.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// None where the server asks for none, or its client library finds it itself.
    pub(crate) password: Option<String>,
    pub(crate) database: String,
    pub(crate) ssl_mode: Option<String>,
    /// The file of the authorities whose certificates are trusted.
    pub(crate) ssl_ca: Option<String>,
}

/// Where it is; never with whom or by which password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database {} on {}:{}", self.database, self.host, self.port)
    }
}

/// As it is shown: without the password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

impl Server {
    /// Reads `DB_HOST`, `DB_PORT`, `DB_USER`, `DB_PASSWORD` or `DB_PASSWORD_FILE`, `DB_NAME`, `DB_SSL_MODE` and
    /// `DB_SSL_CA`, where `port` and `ssl_modes` are the default and what there may be. What the environment leaves open
    /// `elsewhere` may know, by the same names.
    pub(crate) fn from_environment(
        port: u16,
        ssl_modes: &[&str],
        variable: impl Fn(&str) -> Option<String>,
        elsewhere: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let given = |name: &str| set(name).or_else(|| elsewhere(name));
        let (Some(user), Some(database)) = (given("DB_USER"), given("DB_NAME")) else {
            let missing: Vec<_> = ["DB_USER", "DB_NAME"].into_iter().filter(|name| given(name).is_none()).collect();
            let (missing, verb) = (missing.join(" and "), if missing.len() > 1 { "are" } else { "is" });
            return Err(Usage(format!("{missing} {verb} not set: the environment names the server")).into());
        };
        let port = given("DB_PORT").unwrap_or_else(|| port.to_string());
        let port = port.parse().map_err(|_| Usage(format!("DB_PORT is {port:?}, which is not a port")))?;
        let ssl_mode = given("DB_SSL_MODE").map(|mode| mode.to_lowercase().replace('_', "-"));
        if let Some(mode) = &ssl_mode
            && !ssl_modes.contains(&mode.as_str())
        {
            let modes = ssl_modes.join(", ");
            return Err(Usage(format!("DB_SSL_MODE is {mode:?}: it must be one of {modes}")).into());
        }
        let password = match (set("DB_PASSWORD"), set("DB_PASSWORD_FILE")) {
            (Some(_), Some(_)) => {
                return Err(Usage("DB_PASSWORD and DB_PASSWORD_FILE are both set: set one of them".to_owned()).into());
            }
            (Some(password), None) => Some(password),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("{path}: cannot be read: DB_PASSWORD_FILE names it"))?;
                Some(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
            }
            (None, None) => elsewhere("DB_PASSWORD"),
        };
        Ok(Self {
            host: given("DB_HOST").unwrap_or_else(|| "127.0.0.1".to_owned()),
            port,
            user,
            password,
            database,
            ssl_mode,
            ssl_ca: given("DB_SSL_CA"),
        })
    }

    /// The password in every form in which an error may repeat it: plain, in SQL and in the clients' own notations.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let Some(password) = &self.password else { return Vec::new() };
        let quoted = password.replace('\'', "''");
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let libpq = password.replace('\\', "\\\\").replace('\'', "\\'");
        vec![escape(&quoted), escape(password), libpq, quoted, password.clone()]
    }

    /// Whether the host is the path of a socket.
    pub(crate) fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn server(variables: &[(&str, &str)]) -> anyhow::Result<Server> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        Server::from_environment(3306, &["disabled", "required"], variable, |_| None)
    }

    #[test]
    fn what_is_missing_is_named_as_wrong_usage() {
        for (variables, says) in [
            (&[("DB_NAME", "w")][..], "DB_USER is not set"),
            (&[("DB_USER", "w")], "DB_NAME is not set"),
            (&[], "DB_USER and DB_NAME are not set"),
            (&[("DB_NAME", "w"), ("DB_USER", "u"), ("DB_PORT", "x")], "DB_PORT"),
            (&[("DB_NAME", "w"), ("DB_USER", "u"), ("DB_SSL_MODE", "maybe")], "one of disabled"),
            (&[("DB_NAME", "w"), ("DB_USER", "u"), ("DB_PASSWORD", "p"), ("DB_PASSWORD_FILE", "f")], "both set"),
        ] {
            let error = server(variables).err().unwrap();
            assert!(error.is::<Usage>() && error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_password_comes_from_a_file_without_its_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "it's \"it\"\n").unwrap();
        let path = file.path().to_str().unwrap();
        let server = server(&[("DB_NAME", "w"), ("DB_USER", "u"), ("DB_PASSWORD_FILE", path)]).unwrap();
        assert_eq!(server.password.as_deref(), Some("it's \"it\""));
        assert!(!server.to_string().contains("it's") && !format!("{server:?}").contains("it's"));
        for form in ["it''s \\\"it\\\"", "it\\'s \"it\""] {
            assert!(server.secrets().contains(&form.to_owned()), "{form}");
        }
    }
}
