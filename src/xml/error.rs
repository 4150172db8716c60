//! Why a document could not be read or changed. It names the place, never a value of the document.

/// Why a document could not be read or changed: a fragment in lower case, and the place in the text where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", place(*at))]
pub struct XmlError {
    /// What is wrong.
    pub message: String,
    /// Line and column, both from 1, in the text that was read.
    pub at: Option<(u32, u32)>,
}

fn place(at: Option<(u32, u32)>) -> String {
    at.map(|(line, column)| format!(" (line {line}, column {column})")).unwrap_or_default()
}

impl XmlError {
    /// An error without a place.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: None }
    }

    /// An error at a line and column.
    pub(crate) fn at(message: impl Into<String>, at: Option<(u32, u32)>) -> Self {
        Self { message: message.into(), at }
    }
}

impl From<roxmltree::Error> for XmlError {
    fn from(error: roxmltree::Error) -> Self {
        let pos = error.pos();
        let message = match error {
            roxmltree::Error::DtdDetected => "a document type (DTD) is not allowed".to_owned(),
            roxmltree::Error::UnknownEntityReference(..) => "only the five entities of XML itself are allowed".to_owned(),
            // Its own words end in the place, which is kept beside the message instead.
            other => {
                let text = other.to_string();
                text.rsplit_once(" at ").map_or(text.clone(), |(words, _)| words.to_owned())
            }
        };
        Self { message, at: Some((pos.row, pos.col)) }
    }
}
