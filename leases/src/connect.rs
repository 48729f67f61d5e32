//! Connections to the store, whichever way its servers belong together.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use penstock_config::{RedisMode, RedisSpec};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, Pipeline,
    RedisConnectionInfo, RedisError, RedisFuture, TlsCertificates, TlsMode, Value,
};

/// How long one server is tried.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// How long the connection to a cluster waits for an answer. Callers wait less: this ends what nobody waits for any more.
const GIVE_UP_AFTER: Duration = Duration::from_secs(2);

/// How often the connection to a cluster asks another node, where one knows of a move.
const CLUSTER_RETRIES: u32 = 2;

/// A connection that many calls share.
#[derive(Clone)]
pub(crate) enum Connection {
    /// To one server.
    One(MultiplexedConnection),
    /// To the nodes of a cluster.
    Cluster(ClusterConnection),
}

/// Why there is no connection. Has no secrets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// A file of the configuration cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An address is not `HOST:PORT`.
    #[error("{0:?} is not HOST:PORT")]
    Address(Box<str>),
    /// The server, or the way to it.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// What is read of files for a connection: another is made when it changes.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Files {
    password: Option<String>,
    authorities: Option<Vec<u8>>,
}

impl Files {
    /// Reads what `spec` names.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn read(spec: &RedisSpec) -> Result<Self, ConnectError> {
        let password = spec.password_file.as_deref().map(read).transpose()?;
        let password = password.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        let authorities = spec.tls.as_ref().and_then(|tls| tls.ca_file.as_deref()).map(read).transpose()?;
        Ok(Self { password, authorities })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    fs::read(path).map_err(|source| ConnectError::File { path: path.to_owned(), source })
}

/// Connects.
///
/// # Errors
/// No server could be connected to, or none that was is what it should be. The last cause is told.
pub(crate) async fn connect(spec: &RedisSpec, files: &Files) -> Result<Connection, ConnectError> {
    let servers =
        spec.addresses.iter().map(|address| server(spec, files, address)).collect::<Result<Vec<_>, _>>()?;
    if spec.tls.is_some() {
        // One provider, said once, as the client of the API server does: whatever else is linked in must not make the choice
        // ambiguous, at which the library panics. Who chose before us meant this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    match &spec.mode {
        RedisMode::Single => one_of(servers, files).await,
        RedisMode::Cluster => cluster(spec, files, servers).await,
        RedisMode::Sentinel(primary) => sentinel(spec, files, servers, primary).await,
    }
}

async fn one_of(servers: Vec<ConnectionInfo>, files: &Files) -> Result<Connection, ConnectError> {
    let mut last = ConnectError::Address("".into());
    for server in servers {
        let client = match &server.addr() {
            ConnectionAddr::TcpTls { .. } => Client::build_with_tls(server, certificates(files))?,
            _ => Client::open(server)?,
        };
        match client.get_multiplexed_async_connection_with_config(&within()).await {
            Ok(connection) => return Ok(Connection::One(connection)),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

async fn cluster(
    spec: &RedisSpec,
    files: &Files,
    servers: Vec<ConnectionInfo>,
) -> Result<Connection, ConnectError> {
    let mut builder = ClusterClient::builder(servers)
        .connection_timeout(CONNECT_WITHIN)
        .response_timeout(GIVE_UP_AFTER)
        .overall_response_timeout(Some(GIVE_UP_AFTER))
        .retries(CLUSTER_RETRIES)
        .tcp_settings(tcp());
    if spec.tls.is_some() {
        builder = builder.tls(TlsMode::Secure).certs(certificates(files));
    }
    Ok(Connection::Cluster(builder.build()?.get_async_connection().await?))
}

/// Asks the sentinels, which have no password of their own here, who is the primary, and connects to it.
async fn sentinel(
    spec: &RedisSpec,
    files: &Files,
    sentinels: Vec<ConnectionInfo>,
    primary: &str,
) -> Result<Connection, ConnectError> {
    let addresses = sentinels.iter().map(|sentinel| sentinel.addr().clone());
    let mut builder = SentinelClientBuilder::new(addresses, primary, SentinelServerType::Master)?
        .set_client_to_redis_db(i64::from(spec.database))
        .set_client_to_redis_tcp_settings(tcp())
        .set_client_to_sentinel_tcp_settings(tcp());
    if let Some(username) = &spec.username {
        builder = builder.set_client_to_redis_username(&**username);
    }
    if let Some(password) = &files.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if spec.tls.is_some() {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates(files))
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(certificates(files));
    }
    Ok(Connection::One(builder.build()?.get_async_connection_with_config(&within()).await?))
}

fn server(spec: &RedisSpec, files: &Files, address: &str) -> Result<ConnectionInfo, ConnectError> {
    let invalid = || ConnectError::Address(address.into());
    let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
    let port = port.parse().map_err(|_| invalid())?;
    let address = match spec.tls {
        Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        None => ConnectionAddr::Tcp(host, port),
    };
    let mut settings = RedisConnectionInfo::default().set_db(i64::from(spec.database));
    if let Some(username) = &spec.username {
        settings = settings.set_username(&**username);
    }
    if let Some(password) = &files.password {
        settings = settings.set_password(password);
    }
    Ok(address.into_connection_info()?.set_redis_settings(settings).set_tcp_settings(tcp()))
}

fn certificates(files: &Files) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: files.authorities.clone() }
}

/// A call goes out at once.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// Callers have deadlines of their own.
fn within() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_WITHIN)).set_response_timeout(None)
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
