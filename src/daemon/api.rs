//! What is asked of the daemon over HTTP: on a Unix socket of the state directory's, for those who may write to it, and on an address
//! of the machine's own, for whoever watches it.
//!
//! | path | method | |
//! |---|---|---|
//! | `/healthz` | GET | 200 while the engine turns |
//! | `/readyz` | GET | 200 once everything was looked at by manifests without an error |
//! | `/metrics` | GET | figures as Prometheus reads them |
//! | `/reconcile?object=REF` | POST | look now, at these objects or at everything |
//! | `/status` | GET | the view, JSON; the socket only |
//! | `/events?object=REF&limit=N` | GET | what was done and found, JSON; the socket only |
//! | `/publish` | POST | have the copy that readers use be as new as can be; the socket only |
//! | `/run` | POST | carry a command out beside the daemon's own runs; the socket only |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{Json, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};

use super::claims::Claims;
use super::engine::{Ask, Asks};
use super::place::Place;
use super::view::Shared;
use crate::name::ObjectRef;
use crate::store::Store;

/// The socket's name in the state directory.
pub const SOCKET: &str = "daemon.sock";
/// An engine that didn't turn for so long is not well.
const SILENCE: Duration = Duration::from_secs(45);

/// A command that somebody wants carried out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    /// Its words, without the program's.
    pub words: Vec<String>,
    /// The folder that paths in it are meant from.
    pub folder: PathBuf,
    /// Whether what it prints may have colour.
    pub colour: bool,
    /// Who asks, for the history.
    pub who: String,
}

/// What a command prints, as it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Piece {
    /// On standard output.
    Out(String),
    /// On standard error.
    Err(String),
    /// It ended with this exit code.
    Exit(u8),
}

/// Carries commands out.
#[async_trait]
pub trait Hand: Send + Sync {
    /// Carries one out from its place beside the daemon's runs, and tells what it prints. Whoever listens may go away: then it ends
    /// after the steps in flight.
    async fn run(&self, command: Command, place: Arc<Place>, tell: mpsc::UnboundedSender<Piece>) -> u8;
}

/// What the servers need.
#[derive(Clone)]
pub struct Api {
    /// What is told.
    pub shared: Shared,
    /// Where is asked.
    pub asks: Asks,
    /// The ledger.
    pub store: Store,
    /// What carries commands out.
    pub hand: Arc<dyn Hand>,
    /// Whoever reads the history.
    pub history: Arc<tokio::sync::Mutex<()>>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The socket.
    #[error("failed to listen on {}: {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The address.
    #[error("failed to listen on {address}: {source}")]
    Address {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

impl Api {
    /// Serves on the state directory's socket, mode 0660. Whoever calls it holds the ledger, so a socket that is there is a dead one's.
    pub fn on_socket(&self, state: &Path) -> Result<tokio::task::JoinHandle<()>, ApiError> {
        let path = state.join(SOCKET);
        let failed = |source| ApiError::Socket { path: path.clone(), source };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o660);
        std::fs::set_permissions(&path, mode).map_err(failed)?;
        let router = Self::watching()
            .route("/status", get(status))
            .route("/events", get(events))
            .route("/publish", post(publish))
            .route("/run", post(run))
            .with_state(self.clone());
        Ok(tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        }))
    }

    /// Serves on an address what is nobody's secret and harms nothing.
    pub async fn on_address(&self, address: std::net::SocketAddr) -> Result<tokio::task::JoinHandle<()>, ApiError> {
        let listener = TcpListener::bind(address).await.map_err(|source| ApiError::Address { address, source })?;
        tracing::info!(address = ?listener.local_addr().ok(), "listening");
        let router = Self::watching().with_state(self.clone());
        Ok(tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        }))
    }

    fn watching() -> Router<Self> {
        Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/reconcile", post(reconcile))
    }
}

async fn healthz(State(api): State<Api>) -> Response {
    match api.shared.silence() {
        silence if silence < SILENCE => (StatusCode::OK, "ok\n").into_response(),
        silence => {
            let text = format!("the engine has not turned for {} s\n", silence.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn readyz(State(api): State<Api>) -> Response {
    let (looked, trouble) = {
        let view = api.shared.view();
        (view.looked.is_some(), view.trouble.clone())
    };
    match (looked, trouble) {
        (true, None) => (StatusCode::OK, "ok\n").into_response(),
        (_, Some(trouble)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
        (false, None) => (StatusCode::SERVICE_UNAVAILABLE, "nothing was looked at yet\n").into_response(),
    }
}

async fn metrics(State(api): State<Api>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([("content-type", kind)], api.shared.figures()).into_response()
}

async fn reconcile(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    match asked(query.as_deref()) {
        Ok(asked) if api.asks.ask(Ask::Reconcile(asked.objects.clone())).await => {
            (StatusCode::ACCEPTED, "asked\n").into_response()
        }
        Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, "the daemon ends\n").into_response(),
        Err(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    }
}

async fn status(State(api): State<Api>) -> Response {
    let text = serde_json::to_string(&*api.shared.view());
    json(text)
}

async fn events(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    let asked = match asked(query.as_deref()) {
        Ok(asked) => asked,
        Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    };
    // A daemon that never read a manifest tells of what is kept.
    let Some(fleet) = api.shared.view().fleet.or_else(|| api.store.snapshot().only_fleet()) else { return json(Ok("[]".into())) };
    // One at a time, and beside all else: a long history is read from its files, and made into text as a whole.
    let _turn = api.history.lock().await;
    let ledger = api.store.ledger(fleet);
    let read = tokio::task::spawn_blocking(move || {
        let meant = |object: &ObjectRef| asked.objects.is_empty() || asked.objects.contains(object);
        let all = ledger.newest(asked.limit, &meant).events;
        let skip = all.len().saturating_sub(asked.limit);
        serde_json::to_string(all.get(skip..).unwrap_or_default())
    });
    match read.await {
        Ok(text) => json(text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn publish(State(api): State<Api>) -> Response {
    let (answer, done) = oneshot::channel();
    let asked = api.asks.ask(Ask::Publish(answer)).await && done.await.is_ok();
    if asked { StatusCode::NO_CONTENT.into_response() } else { StatusCode::SERVICE_UNAVAILABLE.into_response() }
}

async fn run(State(api): State<Api>, Json(command): Json<Command>) -> Response {
    let (tell, pieces) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let place = Arc::new(Place::new(api.asks.clone()));
        tokio::select! {
            held = place.hold(Claims::default()) => if !held { return },
            () = tell.closed() => return,
        }
        tracing::info!(words = ?command.words.first(), who = command.who, "carried out by hand");
        let code = api.hand.run(command, place.clone(), tell.clone()).await;
        let _ = tell.send(Piece::Exit(code));
        place.leave();
        // What was done by hand is looked at like anybody's doing.
        api.asks.ask(Ask::Reconcile(BTreeSet::new())).await;
    });
    let lines = futures_util::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        let line = serde_json::to_string(&piece).unwrap_or_default();
        Some((Ok::<_, std::convert::Infallible>(format!("{line}\n")), pieces))
    });
    Body::from_stream(lines).into_response()
}

fn json(text: serde_json::Result<String>) -> Response {
    match text {
        Ok(text) => ([("content-type", "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// What a query names.
struct Asked {
    objects: BTreeSet<ObjectRef>,
    limit: usize,
}

fn asked(query: Option<&str>) -> Result<Asked, String> {
    let mut asked = Asked { objects: BTreeSet::new(), limit: 1000 };
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // References have no character that would have to be escaped, but some clients escape the slash.
        let value = value.replace("%2F", "/").replace("%2f", "/").replace("%40", "@");
        match key {
            "object" => {
                let object: ObjectRef = value.parse().map_err(|error: crate::name::InvalidValue| error.to_string())?;
                asked.objects.insert(object);
            }
            "limit" => asked.limit = value.parse().map_err(|_| format!("`{value}` is no number"))?,
            _ => return Err(format!("`{key}` is not known here: object=REF, limit=N")),
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_objects_and_a_limit() {
        let asked = asked(Some("object=vm%2Fweb-1&object=Network/lan@a&limit=5")).unwrap();
        let names: Vec<String> = asked.objects.iter().map(ToString::to_string).collect();
        assert_eq!((names.len(), asked.limit), (2, 5));
        assert!(super::asked(Some("what=1")).is_err());
        assert!(super::asked(Some("object=nothing")).is_err());
        assert!(super::asked(None).unwrap().objects.is_empty());
    }
}
