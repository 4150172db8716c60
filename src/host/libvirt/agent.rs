//! Small files inside of a running guest, read through its agent.
//!
//! An agent may hang for ever, refuse, or not be there: each call has a short time of its own, counts as a guest's and never as the
//! node's. What the file says is nobody's business here.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use virt::domain::Domain;

use super::calls::{Ask, Calls};
use super::error::own;
use super::read::failed;
use crate::host::{ErrorKind, HostError};

/// How long libvirt waits for each answer of an agent, in seconds.
const ANSWER: i32 = 5;
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Longer files are not read.
const LONGEST: usize = 1 << 16;

/// A file of a guest's; none where there is no such file.
pub(super) async fn file(calls: &Arc<Calls>, domain: Uuid, path: &str) -> Result<Option<Vec<u8>>, HostError> {
    let path = path.to_owned();
    let ask = Ask { guest: true, ..Ask::within(LIMIT) };
    calls
        .call(ask, move |cx| {
            let domain = cx.connect().lookup_domain_by_uuid(domain).map_err(failed)?;
            let opened = command(&domain, "guest-file-open", &json!({"path": path, "mode": "r"}));
            let handle = match opened {
                Err(error) if error.message.contains("No such file") => return Ok(None),
                other => other?,
            };
            let read = command(&domain, "guest-file-read", &json!({"handle": handle, "count": LONGEST}));
            // A guest that is left with an open file loses nothing but its handle.
            drop(command(&domain, "guest-file-close", &json!({"handle": handle})));
            let text = read?["buf-b64"].as_str().map(decode).unwrap_or_default();
            text.map(Some).ok_or_else(|| own(ErrorKind::Failed, "the guest's agent answered with what is no base64"))
        })
        .await
}

fn command(domain: &Domain, name: &str, arguments: &Value) -> Result<Value, HostError> {
    let text = json!({"execute": name, "arguments": arguments}).to_string();
    let answer = domain.qemu_agent_command(&text, ANSWER, 0).map_err(|error| {
        let error = failed(error);
        let refused = ["has been disabled", "not found", "is not allowed"].iter().any(|words| error.message.contains(words));
        if refused { HostError { kind: ErrorKind::Unsupported, ..error } } else { error }
    })?;
    let answer: Value = serde_json::from_str(&answer)
        .map_err(|error| own(ErrorKind::Failed, format!("the guest's agent answered with what is no JSON: {error}")))?;
    Ok(answer.get("return").cloned().unwrap_or_default())
}

/// The bytes of a base64 text.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn base64_is_decoded_with_and_without_padding() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("eyJ2MSI6IHt9fQo=", "{\"v1\": {}}\n")] {
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(decode("a?b"), None);
    }
}
