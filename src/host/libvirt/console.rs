//! A guest's serial console: a stream that stays open for as long as somebody looks at it.
//!
//! It has a connection of its own, so that it holds up no other call, and ends with it. Only its opening has a deadline: nothing may
//! come for hours, and a libvirt that is gone shows by its pings.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use virt::stream::Stream;
use virt::sys;

use super::calls::{Ask, Calls};
use super::connection::Connection;
use super::error::own;
use super::read::failed;
use crate::host::{Console, ErrorKind, HostError};

/// How long opening it may take, once there is a connection.
const OPEN: Duration = Duration::from_secs(30);

/// An open console.
struct LibvirtConsole {
    // Before the connection, which must outlive it.
    stream: Stream,
    _connection: Arc<Connection>,
    _calls: Arc<Calls>,
}

/// Opens a domain's first console.
pub(super) async fn open(calls: &Arc<Calls>, domain: Uuid, force: bool) -> Result<Arc<dyn Console>, HostError> {
    let calls = calls.apart();
    let opened = calls.call(Ask::within(OPEN), move |cx| {
        let domain = cx.connect().lookup_domain_by_uuid(domain).map_err(failed)?;
        let stream = Stream::new(cx.connect(), 0).map_err(failed)?;
        let flags = if force { sys::VIR_DOMAIN_CONSOLE_FORCE } else { 0 };
        cx.effect()?;
        domain.open_console(None, &stream, flags).map_err(failed)?;
        Ok((stream, cx.connection()))
    });
    let (stream, connection) = opened.await?;
    Ok(Arc::new(LibvirtConsole { stream, _connection: connection, _calls: calls }))
}

impl Console for LibvirtConsole {
    fn receive(&self, buffer: &mut [u8]) -> Result<usize, HostError> {
        let got = self.stream.recv(buffer).map_err(failed)?;
        Ok(usize::try_from(got).unwrap_or(0))
    }

    fn send(&self, bytes: &[u8]) -> Result<(), HostError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = usize::try_from(self.stream.send(rest).map_err(failed)?).unwrap_or(0);
            if sent == 0 {
                return Err(own(ErrorKind::Failed, "the console takes no more bytes"));
            }
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    fn close(&self) {
        // libvirt has often ended it already, and says so.
        drop(self.stream.clone().abort());
    }
}
