//! Exit codes. They are an API: each has one meaning, documented in the README.

/// Why jvp ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// All is well.
    Ok,
    /// An error that no other code tells.
    Error,
    /// There are changes; with `--detailed-exitcode` only.
    Changes,
    /// The manifests are invalid.
    Invalid,
    /// A node is out of reach.
    Unreachable,
    /// Not all of a plan was done.
    Partly,
    /// A guard refused.
    Refused,
    /// The command line is wrong.
    Usage,
}

impl Exit {
    /// The code.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Changes => 2,
            Self::Invalid => 3,
            Self::Unreachable => 4,
            Self::Partly => 5,
            Self::Refused => 6,
            Self::Usage => 64,
        }
    }

    /// What a code means; none where no code is that.
    pub(super) fn of(code: u8) -> Option<Self> {
        MEANINGS.iter().map(|(exit, _)| *exit).find(|exit| exit.code() == code)
    }

    /// The graver of two: 64, 3, 6, 5, 4, 1, then 2 and 0.
    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        let weight = |exit: Self| match exit {
            Self::Usage => 7,
            Self::Invalid => 6,
            Self::Refused => 5,
            Self::Partly => 4,
            Self::Unreachable => 3,
            Self::Error => 2,
            Self::Changes => 1,
            Self::Ok => 0,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

/// What each code means, and with which commands.
const MEANINGS: &[(Exit, &str)] = &[
    (Exit::Ok, "all is well"),
    (Exit::Error, "an error that no other code tells; with `jvp diff`: differences"),
    (Exit::Changes, "with `--detailed-exitcode`: there are changes; with `jvp diff`: an error"),
    (Exit::Invalid, "the manifests are invalid"),
    (Exit::Unreachable, "a node is out of reach"),
    (Exit::Partly, "not all of it was done"),
    (Exit::Refused, "a guard refused"),
    (Exit::Usage, "the command line is wrong"),
];

/// The codes, for a terminal.
pub(super) fn table() -> String {
    let rows: Vec<Vec<String>> =
        MEANINGS.iter().map(|(exit, says)| vec![format!("  {}", exit.code()), (*says).to_owned()]).collect();
    format!("Exit codes:\n{}\nWhere several fit, the first of 64, 3, 6, 5, 4, 1, 2 wins.\n", super::read::columns(&rows))
}

/// The codes, as a page of Markdown.
pub(super) fn page() -> String {
    let mut page = String::from(
        "# Exit codes\n\nThey are an API. Where several fit, the first of 64, 3, 6, 5, 4, 1, 2 wins.\n\n\
         <!-- Made from the table of codes: JVP_UPDATE=1 cargo test --test schemas -->\n\n| code | meaning |\n|---|---|\n",
    );
    page.extend(MEANINGS.iter().map(|(exit, says)| format!("| {} | {says} |\n", exit.code())));
    page
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_graver_code_wins() {
        assert_eq!(Exit::Unreachable.or(Exit::Partly), Exit::Partly);
        assert_eq!(Exit::Refused.or(Exit::Partly), Exit::Refused);
        assert_eq!(Exit::Ok.or(Exit::Changes), Exit::Changes);
        assert_eq!(Exit::Invalid.or(Exit::Error), Exit::Invalid);
    }
}
