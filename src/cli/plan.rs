//! `jvp plan` and `jvp diff`.

use super::args::{DiffArgs, Global, PlanArgs, PlanFormat};
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use super::run::judge;
use super::session::{Session, consents, targets};
use crate::plan::schema::PlanDocument;
use crate::plan::{Mode, Owned, render};

pub(super) async fn plan(args: &PlanArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let session = Session::open(&args.files, global, out)?;
    let given = consents(&args.consents)?;
    let make_policy = |session: &Session, owned: &Owned| {
        let targets = targets(session, owned, &args.choice)?;
        session.pruned(session.policy(Mode::Apply, given.clone(), targets), args.prune)
    };
    let (mut seen, mut policy) = session.look_for(make_policy, out).await?;
    if args.refresh {
        session.refresh_pools(&seen, out).await;
        (seen, policy) = session.look_for(make_policy, out).await?;
    }
    let plan = session.plan(&seen, &policy);
    match args.output {
        PlanFormat::Text => out.print(&render(&plan, out.colour)),
        PlanFormat::Json => {
            let value = PlanDocument::from(plan.clone());
            out.json(&value);
        }
    }
    if let Some(path) = &args.out {
        if !session.fleet_declared && session.desired.fleet.is_nil() {
            return Err(CommandError::new(Exit::Error, "a plan of a set that has no Fleet yet can't be saved")
                .help("give it one: jvp init"));
        }
        super::saved::save(path, &args.files.files, args.files.secrets_dir.as_ref(), &policy, &plan)?;
        out.say(&format!("the plan was saved; to carry it out: jvp apply {}\n", path.display()));
    }
    let exit = judge(&plan);
    let changes = !plan.is_empty();
    // The process ends here, and the kernel takes a thousand objects back faster than they are freed one by one.
    std::mem::forget((seen, plan));
    Ok(if args.detailed_exitcode && changes { exit.or(Exit::Changes) } else { exit })
}

pub(super) async fn diff(args: &DiffArgs, global: &Global, out: &Out) -> Result<u8, CommandError> {
    let session = Session::open(&args.files, global, out)?;
    let given = consents(&args.consents)?;
    let make_policy = |session: &Session, owned: &Owned| {
        let targets = targets(session, owned, &args.choice)?;
        Ok(session.policy(Mode::Apply, given.clone(), targets))
    };
    let (seen, policy) = session.look_for(make_policy, out).await?;
    let plan = session.plan(&seen, &policy);
    let text = super::difference::render(&plan, &seen, args.show_xml, out.colour);
    out.print(&text);
    for refusal in &plan.refusals {
        out.say(&format!("note: {}: {}\n", refusal.object, refusal.message));
    }
    if !plan.unreachable.is_empty() {
        for node in &plan.unreachable {
            out.say(&format!("error: Node/{}: {}\n", node.node, node.message));
        }
        return Ok(Exit::Unreachable.code());
    }
    Ok(u8::from(!plan.is_empty() || !plan.refusals.is_empty()))
}
