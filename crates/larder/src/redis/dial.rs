//! Makes one connection: RESP3, no Nagle, TLS if asked for, within a deadline. Retries nothing.

use super::address::Address;
use super::error::{RedisError, describe};
use super::options::{RedisOptions, Role};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    PushInfo, RedisConnectionInfo, RedisResult, TlsCertificates,
};

/// A connection, and where what the server sends unasked goes: `pushed` must neither block nor wait.
pub(super) async fn dial(
    options: &RedisOptions,
    address: &Address,
    role: Role,
    pushed: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<MultiplexedConnection, RedisError> {
    let failed = |error: redis::RedisError| RedisError::unsent(format!("{address}: {}", describe(&error)));
    let client = client(options, address, role).map_err(failed)?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        // Deadlines are set once for the whole operation, by the handle.
        .set_response_timeout(None)
        .set_push_sender(move |info: PushInfo| {
            pushed(info);
            Ok::<(), ()>(())
        });
    let deadline = options.connect_deadline();
    match tokio::time::timeout(deadline, client.get_multiplexed_async_connection_with_config(&config)).await {
        Ok(connection) => connection.map_err(failed),
        Err(_) => Err(RedisError::unsent(format!("{address}: not connected within {deadline:?}"))),
    }
}

fn client(options: &RedisOptions, address: &Address, role: Role) -> RedisResult<Client> {
    let tls = options.is_tls(address);
    let place = match address {
        Address::Tcp(host, port) if tls => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
        Address::Tcp(host, port) => ConnectionAddr::Tcp(host.clone(), *port),
        Address::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    let login = options.login(role);
    let mut settings =
        RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    if let Some(username) = &login.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &login.password {
        settings = settings.set_password(password);
    }
    if role == Role::Server {
        settings = settings.set_db(i64::from(options.location.database));
    }
    let info = place
        .into_connection_info()?
        .set_tcp_settings(TcpSettings::default().set_nodelay(true))
        .set_redis_settings(settings);
    if !tls {
        return Client::open(info);
    }
    // Without a provider, or with two, rustls would panic. The application's own choice stands.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    if options.roots.is_none() && options.identity.is_none() {
        return Client::open(info);
    }
    let identity = options.identity.clone();
    let client_tls = identity.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    Client::build_with_tls(info, TlsCertificates { client_tls, root_cert: options.roots.clone() })
}
