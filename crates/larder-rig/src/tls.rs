//! Certificates for one server, made with the `openssl` program and thrown away with its directory. They prove nothing
//! to anybody else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Error;

const CONFIGURATION: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = larder-rig
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[server]
basicConstraints = critical,CA:FALSE
subjectAltName = DNS:localhost,IP:127.0.0.1
";

/// An authority of one's own, and a server's certificate signed by it.
#[derive(Debug)]
pub(crate) struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Makes both, with new keys.
    pub(crate) fn make(directory: &Path) -> Result<Self, Error> {
        let configuration = directory.join("openssl.conf");
        fs::write(&configuration, CONFIGURATION).map_err(Error::file("write", &configuration))?;
        let made = Self { directory: directory.to_owned() };
        let request =
            ["req", "-x509", "-days", "2", "-noenc", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let files = |name: &str| {
            let of = ["-config", "openssl.conf", "-extensions", name].map(str::to_owned);
            of.into_iter().chain([
                "-keyout".into(),
                format!("{name}.key"),
                "-out".into(),
                format!("{name}.pem"),
            ])
        };
        let run = |name: &str, signed: &[&str]| {
            let output = Command::new("openssl")
                .args(request)
                .args(files(name))
                .args(signed)
                .current_dir(directory)
                .output()
                .map_err(Error::while_doing("run openssl"))?;
            match output.status.success() {
                true => Ok(()),
                false => Err(Error::new(format!("openssl: {}", String::from_utf8_lossy(&output.stderr)))),
            }
        };
        run("authority", &[])?;
        run("server", &["-CA", "authority.pem", "-CAkey", "authority.key"])?;
        Ok(made)
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.join("authority.pem")
    }

    /// The server's, and its key.
    pub(crate) fn server(&self) -> (PathBuf, PathBuf) {
        (self.directory.join("server.pem"), self.directory.join("server.key"))
    }

    /// A Redis server's settings. It asks no client for a certificate.
    pub(crate) fn settings(&self) -> [(&'static str, String); 4] {
        let (certificate, key) = self.server();
        [
            ("tls-cert-file", certificate.display().to_string()),
            ("tls-key-file", key.display().to_string()),
            ("tls-ca-cert-file", self.authority().display().to_string()),
            ("tls-auth-clients", "no".into()),
        ]
    }
}
