//! Windows: spans of time that come back by a calendar, in which a VM may be restarted.
//!
//! Time zones are those that are built in, so that a plan is the same on each machine. Absent: the clock; the time comes in.

use std::cmp::Ordering;
use std::sync::OnceLock;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::InvalidValue;

/// A span of time that comes back, in which a VM may be restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// When it opens, as cron has it: minute, hour, day of the month, month, day of the week; such as `0 3 * * SUN`. A time that a
    /// change of the clock leaves out is taken right after it, one that it brings twice the first time.
    #[schemars(extend("format" = "cron"))]
    pub cron: String,
    /// How long it stays open, such as `90m` or `2h`. Within it a restart is begun; it may end later.
    #[schemars(regex(pattern = r"^[1-9][0-9]{0,5}(s|m|h)$"), extend("patternErrorMessage" = "a time such as `120s`, `90m` or `2h`"))]
    pub duration: String,
    /// The time zone of `cron`, such as `Europe/Vienna`. Default: UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "time-zone"))]
    pub time_zone: Option<String>,
}

impl Window {
    /// When it opens after `now`, or that it is open then. None where it says nothing that can be read.
    pub fn opens(&self, now: Timestamp) -> Option<Opens> {
        let cron = cron(&self.cron).ok()?;
        let zone = self.time_zone.as_deref().map_or(Ok(TimeZone::UTC), time_zone).ok()?;
        let duration = SignedDuration::from_secs(i64::try_from(seconds(&self.duration)?).ok()?);
        let began = now.checked_sub(duration).ok()?;
        // One that opened after that is still open, also where the next one opens before.
        let At(first) = cron.find_next_occurrence(&At(began.to_zoned_datetime(zone.clone())), false).ok()?;
        if first.timestamp() <= now {
            return Some(Opens::IsOpen);
        }
        Some(Opens::At(first))
    }
}

/// When a window opens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opens {
    /// It is open.
    IsOpen,
    /// Then.
    At(ZonedDateTime),
}

impl Opens {
    /// The first of these windows; always where there is none.
    pub fn first(windows: &[Window], now: Timestamp) -> Option<Self> {
        if windows.is_empty() {
            return Some(Self::IsOpen);
        }
        windows.iter().filter_map(|window| window.opens(now)).min()
    }

    /// When it opens, for people; none where it is open.
    pub fn words(&self) -> Option<String> {
        match self {
            Self::IsOpen => None,
            Self::At(at) => {
                let zone = at.time_zone().iana_name().unwrap_or("UTC");
                Some(format!("{} ({zone})", at.strftime("%Y-%m-%d %H:%M %:z")))
            }
        }
    }
}

/// Seconds of a duration such as `120s`, `5m` or `1h`.
pub fn seconds(text: &str) -> Option<u64> {
    let count: u64 = text.get(..text.len().checked_sub(1)?)?.parse().ok()?;
    match text.chars().last()? {
        's' => Some(count),
        'm' => Some(count * 60),
        'h' => Some(count * 3600),
        _ => None,
    }
}

/// Reads five fields of cron. A time that never comes is none.
pub(super) fn cron(text: &str) -> Result<Cron, String> {
    let form = "minute, hour, day of the month, month and day of the week, such as `0 3 * * SUN`";
    let fields = text.split_whitespace().count();
    if fields != 5 {
        let wrong = format!("{} ({fields} fields are written)", InvalidValue::new(text, form));
        return Err(wrong);
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser.parse(text).map_err(|error| format!("{} ({})", InvalidValue::new(text, form), why(&error)))?;
    match cron.find_next_occurrence(&At(Timestamp::UNIX_EPOCH.to_zoned_datetime(TimeZone::UTC)), true) {
        Ok(_) => Ok(cron),
        Err(_) => Err(format!("`{text}` never comes: no year has such a day")),
    }
}

fn why(error: &CronError) -> String {
    match error {
        CronError::InvalidPattern(why) | CronError::IllegalCharacters(why) | CronError::ComponentError(why) => {
            why.trim_end_matches('.').to_owned()
        }
        other => other.to_string().trim_end_matches('.').to_owned(),
    }
}

/// Reads the name of a time zone.
pub(super) fn time_zone(text: &str) -> Result<TimeZone, String> {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    let zones = ZONES.get_or_init(TimeZoneDatabase::bundled);
    zones.get(text).map_err(|_| InvalidValue::new(text, "the name of a time zone such as `Europe/Vienna` or `UTC`").to_string())
}

/// A time in its zone, as the calendar's library wants it.
#[derive(Clone)]
struct At(ZonedDateTime);

impl At {
    fn date(civil: CivilDateTime) -> Result<DateTime, CronError> {
        let small = |part: u32| i8::try_from(part).map_err(|_| CronError::InvalidTime);
        let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
        let (month, day) = (small(civil.month())?, small(civil.day())?);
        let (hour, minute, second) = (small(civil.hour())?, small(civil.minute())?, small(civil.second())?);
        DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| CronError::InvalidDate)
    }
}

impl CronDateTime for At {
    fn to_civil(&self) -> CivilDateTime {
        // A time has no part that were out of its range.
        let part = |part: i8| u32::try_from(part).unwrap_or_default();
        let (date, time) = (self.0.date(), self.0.time());
        let date = CivilDate::from_parts_unchecked(i32::from(date.year()), part(date.month()), part(date.day()));
        CivilDateTime::new(date, CivilTime::from_parts_unchecked(part(time.hour()), part(time.minute()), part(time.second())))
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(u32::try_from(self.0.weekday().to_sunday_zero_offset()).unwrap_or_default())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let ambiguous = self.0.time_zone().to_ambiguous_zoned_datetime(Self::date(civil)?);
        let wrong = |_| CronError::InvalidTime;
        Ok(match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(Self(ambiguous.unambiguous().map_err(wrong)?)),
            AmbiguousOffset::Fold { .. } => {
                let earlier = ambiguous.clone().earlier().map_err(wrong)?;
                Resolution::Ambiguous(Self(earlier), Self(ambiguous.later().map_err(wrong)?))
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(cron: &str, duration: &str, zone: &str) -> Window {
        Window { cron: cron.into(), duration: duration.into(), time_zone: Some(zone.into()) }
    }

    fn opens(window: &Window, now: &str) -> String {
        match window.opens(now.parse().unwrap()).unwrap() {
            Opens::IsOpen => "open".into(),
            Opens::At(at) => at.timestamp().to_string(),
        }
    }

    #[test]
    fn a_window_is_open_from_its_time_on_for_as_long_as_it_says() {
        let sundays = window("0 3 * * SUN", "2h", "Europe/Vienna");
        // 2026-11-29 is a Sunday; Vienna is an hour ahead of UTC in winter.
        assert_eq!(opens(&sundays, "2026-11-26T12:00:00Z"), "2026-11-29T02:00:00Z");
        assert_eq!(opens(&sundays, "2026-11-29T01:59:59Z"), "2026-11-29T02:00:00Z");
        assert_eq!(opens(&sundays, "2026-11-29T02:00:00Z"), "open");
        assert_eq!(opens(&sundays, "2026-11-29T03:59:59Z"), "open");
        assert_eq!(opens(&sundays, "2026-11-29T04:00:00Z"), "2026-12-06T02:00:00Z");
        let at = sundays.opens("2026-11-26T12:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(at.words().unwrap(), "2026-11-29 03:00 +01:00 (Europe/Vienna)");
    }

    #[test]
    fn a_time_that_the_clock_leaves_out_opens_right_after_the_gap() {
        // On 2026-03-29 Vienna's clocks go from 02:00 (01:00 UTC) to 03:00.
        let nightly = window("30 2 * * *", "1h", "Europe/Vienna");
        assert_eq!(opens(&nightly, "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(opens(&nightly, "2026-03-29T01:59:59Z"), "open");
        assert_eq!(opens(&nightly, "2026-03-29T02:00:00Z"), "2026-03-30T00:30:00Z");
    }

    #[test]
    fn a_time_that_the_clock_brings_twice_opens_once_and_lasts_as_long_as_it_says() {
        // On 2026-10-25 Vienna's clocks go from 03:00 (01:00 UTC) back to 02:00.
        let nightly = window("30 2 * * *", "30m", "Europe/Vienna");
        assert_eq!(opens(&nightly, "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(opens(&nightly, "2026-10-25T00:59:59Z"), "open");
        assert_eq!(opens(&nightly, "2026-10-25T01:00:00Z"), "2026-10-26T01:30:00Z");
        // One that spans the change is no longer for it.
        let long = window("0 1 * * *", "3h", "Europe/Vienna");
        assert_eq!(opens(&long, "2026-10-25T01:59:59Z"), "open");
        assert_eq!(opens(&long, "2026-10-25T02:00:00Z"), "2026-10-26T00:00:00Z");
    }

    #[test]
    fn a_window_that_outlasts_its_period_never_closes() {
        let hourly = window("0 * * * *", "90m", "UTC");
        for minute in 0..240 {
            let now: Timestamp = "2026-11-26T00:00:00Z".parse().unwrap();
            assert_eq!(hourly.opens(now + SignedDuration::from_mins(minute)), Some(Opens::IsOpen), "{minute}");
        }
    }

    #[test]
    fn of_several_the_first_counts_and_without_any_it_is_always_open() {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let all = [window("0 3 * * SUN", "2h", "UTC"), window("0 22 * * *", "1h", "America/New_York")];
        let Some(Opens::At(at)) = Opens::first(&all, now) else { panic!("none is open") };
        assert_eq!(at.timestamp().to_string(), "2026-11-27T03:00:00Z");
        assert_eq!(Opens::first(&all, "2026-11-27T03:30:00Z".parse().unwrap()), Some(Opens::IsOpen));
        assert_eq!(Opens::first(&[], now), Some(Opens::IsOpen));
    }

    #[test]
    fn what_is_no_calendar_or_never_comes_is_told() {
        assert!(cron("0 3 * * SUN").is_ok() && cron("*/15 1-5 1,15 JAN-MAR *").is_ok());
        for wrong in ["", "0 3 * *", "0 0 3 * * SUN", "61 3 * * *", "0 25 * * *", "0 3 * * NEVER", "@daily"] {
            assert!(cron(wrong).is_err(), "{wrong}");
        }
        assert!(cron("0 3 30 2 *").unwrap_err().contains("never comes"));
        assert!(time_zone("Europe/Vienna").is_ok() && time_zone("UTC").is_ok());
        assert!(time_zone("Europe/Wien").is_err() && time_zone("../etc/passwd").is_err());
    }
}
