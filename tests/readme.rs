//! The README's tour: the commands of its `console` blocks are run one after the other, in one copy of the checkout and on one fake
//! node, and print what the README says. A line `…` stands for any lines; times are not compared. `JVP_UPDATE=1 cargo test --test readme`
//! writes anew what is printed, except where the README leaves out lines.

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, reason = "a test that can't read its cases has failed")]

mod checkout;
#[path = "page/follow.rs"]
mod follow;
mod page;

use std::fs;

use checkout::{Place, root};
use follow::follow;
use page::blocks;

#[test]
fn the_tour_of_the_readme_prints_what_it_says() {
    let place = Place::with(&["manifests"]);
    let tour = root().join("README.md");
    assert!(blocks(&fs::read_to_string(&tour).unwrap()).iter().filter(|block| block.language == "console").count() > 5);
    follow(&tour, &place);
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/promises.md"] {
        let path = root().join(name);
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            assert!(path.parent().unwrap().join(link).exists(), "{name}: {link}");
        }
    }
}
