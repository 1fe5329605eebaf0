//! Time zones by their IANA names.

use chrono_tz::{TZ_VARIANTS, Tz};

use crate::refused::{Field, Refused};

/// From where on a name is taken for a slip of another.
const ALIKE: f64 = 0.85;

/// The zone with this name.
pub(crate) fn parse(name: &str) -> Result<Tz, Refused> {
    let name = name.trim();
    name.parse().map_err(|_| {
        let shown: String = name.chars().take(60).collect();
        let hint = match nearest(&shown) {
            Some(zone) => format!("Did you mean `{zone}`?"),
            None => "Give an IANA name, such as `Europe/Berlin`, `America/New_York` or `UTC`.".to_owned(),
        };
        Refused::new(Field::TimeZone, shown.as_str(), format!("there is no time zone `{shown}`"), hint)
    })
}

/// The name that is most like this one, its place alone or whole.
fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase().replace(' ', "_");
    let likeness = |zone: &'static str| {
        let whole = zone.to_ascii_lowercase();
        let place = whole.rsplit('/').next().unwrap_or(&whole);
        (strsim::jaro_winkler(&whole, &lower).max(strsim::jaro_winkler(place, &lower)), zone)
    };
    let likeliest = TZ_VARIANTS.iter().map(|zone| likeness(zone.name()));
    let likeliest = likeliest.max_by(|(one, _), (other, _)| one.total_cmp(other));
    likeliest.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, zone)| zone)
}
