//! A plan as `jvp plan -o json` prints it, and its JSON Schema, made from the types.
//!
//! The version counts forms, not plans: while it stays the same, fields are added, and none is changed or taken away.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

use super::Plan;

/// The version of the form.
pub const VERSION: u32 = 1;

/// A plan, as printed in JSON.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Plan")]
pub struct PlanDocument {
    /// The version of this form. While it stays the same, fields are added, and none is changed or taken away.
    #[schemars(extend("const" = VERSION))]
    pub version: u32,
    /// Whether nothing is to be done.
    pub empty: bool,
    /// The plan.
    #[serde(flatten)]
    pub plan: Plan,
}

impl From<Plan> for PlanDocument {
    fn from(plan: Plan) -> Self {
        Self { version: VERSION, empty: plan.is_empty(), plan }
    }
}

/// The JSON Schema of a plan, as in `schemas/plan.json`.
pub fn schema() -> String {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<PlanDocument>();
    format!("{:#}\n", schema.to_value())
}
