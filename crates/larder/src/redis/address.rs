//! Where the servers are, and who we are to them: read from a URL or from the environment. Connects to nothing.

use super::error::RedisError;
use std::fmt;
use std::path::PathBuf;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How the servers are arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    Single(Address),
    Sentinel { sentinels: Vec<Address>, master: String },
    Cluster { seeds: Vec<Address> },
}

/// A name and a password. `Debug` shows neither.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.password.is_some() { "Login { .. }" } else { "Login {}" })
    }
}

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) topology: Topology,
    pub(super) login: Login,
    /// For the Sentinels themselves, which have users of their own.
    pub(super) sentinel_login: Login,
    pub(super) database: u32,
    pub(super) tls: bool,
}

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

impl Location {
    /// Reads a URL. Errors never repeat it: it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, RedisError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| unusable("a URL without `://`; expected such as redis://host:6379"))?;
        let (kind, tls) = match scheme.to_ascii_lowercase().replace("valkey", "redis").as_str() {
            "redis" => (Kind::Single, false),
            "rediss" => (Kind::Single, true),
            "redis+sentinel" => (Kind::Sentinel, false),
            "rediss+sentinel" => (Kind::Sentinel, true),
            "redis+cluster" => (Kind::Cluster, false),
            "rediss+cluster" => (Kind::Cluster, true),
            "unix" | "redis+unix" => (Kind::Unix, false),
            // What stands before `://` may still be a misplaced password.
            _ => {
                return Err(unusable(
                    "an unknown scheme; expected redis, rediss, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster or unix",
                ));
            }
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold anything but what separates; an `@` in it still ends at the last one.
        let host = rest.rfind('@').map_or(0, |at| at + 1);
        let (authority, path) =
            rest[host..].find('/').map_or((rest, ""), |slash| rest.split_at(host + slash));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let mut location = Location {
            topology: Topology::Cluster { seeds: Vec::new() },
            login: login(user)?,
            sentinel_login: Login::default(),
            database: 0,
            tls,
        };
        let path = path.trim_start_matches('/');
        match kind {
            Kind::Single => {
                let mut hosts = addresses(hosts, PORT)?;
                if hosts.len() != 1 {
                    return Err(unusable(
                        "several hosts; expected one, or a scheme of redis+sentinel or redis+cluster",
                    ));
                }
                location.topology = Topology::Single(hosts.remove(0));
                location.database = database(path)?;
            }
            Kind::Unix => {
                let path = decode(&format!("{hosts}/{path}"))?;
                if path.len() < 2 {
                    return Err(unusable("no path of a socket; expected unix:///path"));
                }
                location.topology = Topology::Single(Address::Unix(path.into()));
            }
            Kind::Sentinel => {
                let (master, number) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(unusable("no name of a master; expected redis+sentinel://h1,h2,h3/name"));
                }
                let sentinels = addresses(hosts, SENTINEL_PORT)?;
                location.topology = Topology::Sentinel { sentinels, master: decode(master)? };
                location.database = database(number)?;
            }
            Kind::Cluster => {
                if !path.is_empty() {
                    return Err(unusable("a path on a cluster; expected none, since it has one database"));
                }
                location.topology = Topology::Cluster { seeds: addresses(hosts, PORT)? };
            }
        }
        for (name, value) in query.split('&').filter(|pair| !pair.is_empty()).map(pair) {
            match (name, kind) {
                ("db", Kind::Unix | Kind::Single) => location.database = database(value)?,
                ("sentinel_username", Kind::Sentinel) => {
                    location.sentinel_login.username = Some(decode(value)?)
                }
                ("sentinel_password", Kind::Sentinel) => {
                    location.sentinel_login.password = Some(decode(value)?)
                }
                // What other clients' URLs say of the protocol is what happens anyway.
                ("protocol", _) if matches!(value, "3" | "resp3") => {}
                _ => {
                    return Err(unusable(
                        "a parameter after `?` that is not understood here; see the documentation of RedisOptions::parse",
                    ));
                }
            }
        }
        Ok(location)
    }

    /// Reads `REDIS_URL`, or else `REDIS_HOST`, `REDIS_PORT` and `REDIS_PASSWORD`.
    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, RedisError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        if let Some(url) = set("REDIS_URL") {
            return Self::parse(&url);
        }
        let Some(host) = set("REDIS_HOST") else {
            return Err(unusable("neither REDIS_URL nor REDIS_HOST is set; expected one of them"));
        };
        let port = match set("REDIS_PORT") {
            Some(port) => port
                .parse()
                .map_err(|_| unusable("REDIS_PORT is not a port; expected a number up to 65535"))?,
            None => PORT,
        };
        let login = Login { username: set("REDIS_USERNAME"), password: set("REDIS_PASSWORD") };
        let topology = Topology::Single(Address::Tcp(host, port));
        Ok(Location { topology, login, sentinel_login: Login::default(), database: 0, tls: false })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
    Unix,
}

fn unusable(message: &str) -> RedisError {
    RedisError::unusable(message)
}

fn pair(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
}

fn login(text: &str) -> Result<Login, RedisError> {
    if text.is_empty() {
        return Ok(Login::default());
    }
    let Some((username, password)) = text.split_once(':') else {
        return Err(unusable("a user without a password; expected user:password@ or :password@"));
    };
    let username = decode(username)?;
    Ok(Login { username: (!username.is_empty()).then_some(username), password: Some(decode(password)?) })
}

fn database(text: &str) -> Result<u32, RedisError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse()
        .map_err(|_| unusable("a database that is not a number; expected such as redis://host:6379/0"))
}

fn addresses(hosts: &str, port: u16) -> Result<Vec<Address>, RedisError> {
    hosts.split(',').map(|host| address(host.trim(), port)).collect()
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn address(text: &str, default: u16) -> Result<Address, RedisError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6.split_once(']').ok_or_else(|| unusable("`[` without `]` in a host"))?;
            (host, port.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => {
            port.parse().map_err(|_| unusable("a port that is not one; expected a number up to 65535"))?
        }
        None => default,
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Ok(Address::Tcp(host.to_owned(), port))
}

/// `%40` is `@`.
fn decode(text: &str) -> Result<String, RedisError> {
    let malformed = || unusable("a `%` that is no escape; expected `%25` for a percent sign");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits =
            rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(malformed)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| malformed())?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::{Address, Location, Topology};

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.to_owned(), port)
    }

    #[test]
    fn a_single_server() {
        let found = Location::parse("rediss://me:p%40ss@cache.example:7000/3").unwrap();
        assert_eq!(found.topology, Topology::Single(tcp("cache.example", 7000)));
        assert_eq!((found.database, found.tls), (3, true));
        assert_eq!(found.login.username.as_deref(), Some("me"));
        assert_eq!(found.login.password.as_deref(), Some("p@ss"));
        let plain = Location::parse("valkey://[::1]").unwrap();
        assert_eq!(plain.topology, Topology::Single(tcp("::1", 6379)));
        assert_eq!(plain.login.password, None);
    }

    #[test]
    fn passwords_with_what_separates_elsewhere() {
        let found = Location::parse("redis://:a/b@c@host/1").unwrap();
        assert_eq!(found.login.password.as_deref(), Some("a/b@c"));
        assert_eq!((found.topology, found.database), (Topology::Single(tcp("host", 6379)), 1));
    }

    #[test]
    fn a_sentinel_set_a_cluster_and_a_socket() {
        let found = Location::parse("redis+sentinel://:pw@a,b:1,c/mymaster/2?sentinel_password=x").unwrap();
        let sentinels = vec![tcp("a", 26_379), tcp("b", 1), tcp("c", 26_379)];
        assert_eq!(found.topology, Topology::Sentinel { sentinels, master: "mymaster".to_owned() });
        assert_eq!((found.database, found.sentinel_login.password.as_deref()), (2, Some("x")));
        let found = Location::parse("redis+cluster://a:7001,b:7002").unwrap();
        assert_eq!(found.topology, Topology::Cluster { seeds: vec![tcp("a", 7001), tcp("b", 7002)] });
        let found = Location::parse("unix:///run/redis.sock?db=4").unwrap();
        assert_eq!(found.topology, Topology::Single(Address::Unix("/run/redis.sock".into())));
        assert_eq!(found.database, 4);
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_its_password() {
        let bad = [
            "localhost:6379",
            "http://:secret@host",
            "redis://:secret@host:port",
            "redis://:secret@a,b",
            "redis://:secret@host/zero",
            "redis://secret@host",
            "redis://:sec%zret@host",
            "redis+sentinel://:secret@a",
            "redis+cluster://:secret@a/1",
            "redis://:secret@host?secret=secret",
            "unix://",
        ];
        for url in bad {
            let error = Location::parse(url).expect_err(url);
            assert!(error.is_unusable() && !error.to_string().contains("sec"), "{error}");
        }
        let shown = format!("{:?}", Location::parse("redis://me:secret@host").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn the_environment() {
        let of = |pairs: &'static [(&str, &str)]| {
            Location::from_variables(move |name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let found = of(&[("REDIS_HOST", "h"), ("REDIS_PORT", "7"), ("REDIS_PASSWORD", "p%4")]).unwrap();
        assert_eq!(found.topology, Topology::Single(tcp("h", 7)));
        assert_eq!(found.login.password.as_deref(), Some("p%4"), "a variable is not escaped");
        let found = of(&[("REDIS_URL", "redis://u"), ("REDIS_HOST", "h")]).unwrap();
        assert_eq!(found.topology, Topology::Single(tcp("u", 6379)));
        assert!(of(&[]).unwrap_err().is_unusable());
        assert!(of(&[("REDIS_HOST", "h"), ("REDIS_PORT", "x")]).unwrap_err().is_unusable());
    }
}
