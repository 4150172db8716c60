//! HTTP over a Unix socket of this machine's.

use std::path::Path;

/// A client that reaches whatever listens on a socket, whatever host a URL names. No proxy stands between.
pub fn unix_client(socket: &Path) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().unix_socket(socket).no_proxy().build()
}
