//! `jvp get` and `jvp describe`: objects as they are.
//!
//! They change nothing, and ask no node for more than a look.

mod describe;
mod facts;
mod item;
mod object;
mod select;
mod table;
#[cfg(test)]
mod tests;
mod units;
mod why;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::args::{DescribeArgs, Files, GetArgs, Global, ReadFormat, WhyArgs};
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use super::session::{Session, command_line, now};
use crate::apply::Seen;
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::{NodeView, Observed, Scope};
use crate::plan::{Consents, Mode, Plan};
use crate::store::Snapshot;
pub(super) use table::set as columns;

use facts::Index;
use item::{Item, Kept, View};
pub(super) use select::Selector;
use select::What;

/// What both commands look at.
struct Look {
    session: Session,
    seen: Seen,
    plan: Plan,
    bare: bool,
}

impl Look {
    async fn open(files: &Files, global: &Global, out: &Out) -> Result<Self, CommandError> {
        let session = Session::open_or_bare(files, global, out)?;
        let seen = session.look(&Scope::WithGuests, out).await?;
        let plan = session.plan(&seen, &session.policy(Mode::Apply, Consents::default(), None));
        let bare = session.set.documents.iter().all(|document| document.object.kind == Kind::Fleet);
        Ok(Self { session, seen, plan, bare })
    }

    /// What a daemon found and what was done; nothing where that can't be read: all else is told without.
    fn kept(&self) -> Kept {
        let (path, fleet) = (self.session.state.path(), self.session.desired.fleet);
        let snapshot = Snapshot::read(path, &command_line(), now());
        Kept {
            statuses: snapshot.map(|snapshot| snapshot.statuses(fleet)).unwrap_or_default(),
            events: Snapshot::history(path, fleet).events,
        }
    }

    fn view(&self) -> View<'_> {
        View {
            documents: &self.session.set.documents,
            desired: &self.session.desired,
            observed: &self.seen.observed,
            owned: &self.seen.owned,
            plan: &self.plan,
            now: now(),
            bare: self.bare,
        }
    }
}

/// Lists objects and how they are.
pub(super) async fn get(args: &GetArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let what = parse(&args.what)?;
    let selector = args.selector.as_deref().map(Selector::parse).transpose();
    let selector = selector.map_err(|error| CommandError::new(Exit::Usage, error))?.unwrap_or_default();
    let look = Look::open(&args.files, global, out).await?;
    let view = look.view();
    let all = item::items(&view);
    let items: Vec<&Item<'_>> = chosen(&all, &what)?.into_iter().filter(|item| selector.matches(&item.labels)).collect();
    if items.is_empty() {
        out.say("no objects found\n");
    }
    let single = matches!(what.as_slice(), [What::Object(_)]) && args.selector.is_none();
    out.print(&list(&view, &items, args.output, single)?);
    Ok(say_unreached(&view, &items, out))
}

/// Tells all that is known of objects.
pub(super) async fn describe(args: &DescribeArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let what = parse(&args.objects)?;
    let look = Look::open(&args.files, global, out).await?;
    let view = look.view();
    let all = item::items(&view);
    let items = chosen(&all, &what)?;
    let index = Index::new(&view);
    let kept = look.kept();
    let texts: Vec<String> = items.iter().map(|item| describe::render(&view, &index, item, &kept)).collect();
    if items.is_empty() {
        out.say("no objects found\n");
    }
    out.print(&texts.join("\n"));
    Ok(say_unreached(&view, &items, out))
}

/// Whether an object is one of those that these words mean.
pub(super) fn meant(words: &[String]) -> Result<impl Fn(&ObjectRef) -> bool, CommandError> {
    let what = parse(words)?;
    Ok(move |object: &ObjectRef| what.iter().any(|what| what.takes(object)))
}

/// Tells why objects are as they are, and what an apply would do about it.
pub(super) async fn why(args: &WhyArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let what = parse(&args.objects)?;
    let look = Look::open(&args.files, global, out).await?;
    let view = look.view();
    let all = item::items(&view);
    let items = chosen(&all, &what)?;
    let sources = &look.session.set.sources;
    let texts: Vec<String> = items.iter().map(|item| why::render(&view, sources, item, args.all)).collect();
    out.print(&texts.join("\n"));
    Ok(say_unreached(&view, &items, out))
}

fn parse(words: &[String]) -> Result<Vec<What>, CommandError> {
    let help = || format!("kinds are {}", select::kinds());
    select::parse(words).map_err(|error| CommandError::new(Exit::Usage, error).help(help()))
}

/// The objects that were asked for. One that was named and isn't there is an error.
fn chosen<'i, 'a>(all: &'i [Item<'a>], what: &[What]) -> Result<Vec<&'i Item<'a>>, CommandError> {
    for what in what {
        let What::Object(wanted) = what else { continue };
        if !all.iter().any(|item| what.takes(&item.object)) {
            let error = CommandError::new(Exit::Error, format!("there is no {wanted} in the manifests or the inventory"));
            return Err(match select::near(wanted, all.iter().map(|item| &item.object)) {
                Some(near) => error.help(format!("did you mean {near}?")),
                None => error,
            });
        }
    }
    Ok(all.iter().filter(|item| what.iter().any(|what| what.takes(&item.object))).collect())
}

/// A list in a format. A `single` object stands by itself.
fn list(view: &View<'_>, items: &[&Item<'_>], format: ReadFormat, single: bool) -> Result<String, CommandError> {
    let index = Index::new(view);
    let value = || {
        let mut objects: Vec<_> = items.iter().map(|item| object::object(view, &index, item)).collect();
        if single && objects.len() == 1 { objects.remove(0) } else { object::list(&objects) }
    };
    let failed = |error: &dyn std::fmt::Display| CommandError::new(Exit::Error, format!("failed to write it: {error}"));
    Ok(match format {
        ReadFormat::Table => table::render(view, &index, items, false),
        ReadFormat::Wide => table::render(view, &index, items, true),
        ReadFormat::Json => serde_json::to_string_pretty(&value()).map_err(|error| failed(&error))? + "\n",
        ReadFormat::Yaml => serde_yaml::to_string(&value()).map_err(|error| failed(&error))?,
        ReadFormat::Name => items.iter().fold(String::new(), |mut text, item| {
            let _ = writeln!(text, "{}", item.object);
            text
        }),
    })
}

/// Says which nodes of the objects shown are out of reach.
fn say_unreached(view: &View<'_>, items: &[&Item<'_>], out: &Out) -> Exit {
    let text = unreached(view.observed, items);
    out.say(&text);
    if text.is_empty() { Exit::Ok } else { Exit::Unreachable }
}

fn unreached(observed: &Observed, items: &[&Item<'_>]) -> String {
    let nodes: BTreeSet<&Name> = items.iter().filter_map(|item| item.node.as_ref()).collect();
    let mut text = String::new();
    for node in nodes {
        let _ = match observed.nodes.get(node) {
            Some(NodeView::Reached(_)) => Ok(()),
            Some(NodeView::Unreachable { message, .. }) => writeln!(text, "error: Node/{node}: {message}"),
            None => {
                writeln!(text, "error: Node/{node}: it is not in the manifests that were read, so how it is reached isn't known")
            }
        };
    }
    text
}
