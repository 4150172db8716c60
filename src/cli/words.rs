//! Small texts that several commands say.

use crate::store::{Currency, Snapshot};

/// What there is to say of a copy of the inventory that may be old.
pub(super) fn currency(snapshot: &Snapshot) -> Option<String> {
    match &snapshot.currency {
        Currency::Current => None,
        Currency::Held(holder) => Some(format!("note: the inventory is as last published, since {holder} holds it\n")),
        Currency::Old(reason) => {
            Some(format!("note: the inventory is as last published, since the ledger can't be opened: {reason}\n"))
        }
    }
}
