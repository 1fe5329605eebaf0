//! Names: what users see of a repository.
//!
//! Owns the rule. A repository on a host is `host/path`; one on this machine is its folder's name. Invariant: no two
//! repositories of one execution have the same name, because a job's id is made from it. Those that would get longer
//! ones: more folders of the path, or the whole address.

use std::collections::BTreeMap;

use events::location::Location;

/// The name that a repository has as long as nothing else in sight has it.
pub(crate) fn short(location: &Location) -> String {
    lengthened(location, 1)
}

/// The names of different locations, each its own.
pub(crate) fn distinct(locations: &[Location]) -> Vec<String> {
    let mut lengths = vec![1; locations.len()];
    let most: usize = locations.iter().map(length).sum();
    for _ in 0..most {
        let names: Vec<String> =
            locations.iter().zip(&lengths).map(|(location, length)| lengthened(location, *length)).collect();
        let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, name) in names.iter().enumerate() {
            places.entry(name).or_default().push(place);
        }
        let shared: Vec<usize> = places.into_values().filter(|places| places.len() > 1).flatten().collect();
        if shared.is_empty() {
            return names;
        }
        shared.into_iter().for_each(|place| lengths[place] += 1);
    }
    // Addresses are different; as names they are the last resort.
    locations.iter().map(|location| location.url().to_owned()).collect()
}

/// How many lengths of its name there are.
fn length(location: &Location) -> usize {
    match location {
        Location::Local(path) => path.matches('/').count() + 2,
        Location::Remote(_) => 3,
    }
}

fn lengthened(location: &Location, length: usize) -> String {
    match location {
        Location::Remote(remote) if length == 1 => format!("{}/{}", remote.host, remote.path),
        Location::Remote(remote) => remote.url.clone(),
        Location::Local(path) => {
            let trimmed = path.strip_suffix(".git").filter(|rest| !rest.ends_with('/')).unwrap_or(path);
            let starts: Vec<usize> = trimmed.match_indices('/').map(|(at, _)| at).collect();
            match starts.len().checked_sub(length).and_then(|index| starts.get(index)) {
                Some(start) if trimmed.len() > start + 1 => trimmed[start + 1..].to_owned(),
                _ => path.clone(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn named(texts: &[&str]) -> Vec<String> {
        distinct(&texts.iter().map(|text| Location::parse(text).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn a_name_is_as_short_as_it_can_be() {
        assert_eq!(named(&["/srv/git/app.git", "https://h/a/b.git"]), ["app", "h/a/b"]);
        assert_eq!(named(&["/x/app", "/y/app", "/y/lib"]), ["x/app", "y/app", "lib"]);
        assert_eq!(named(&["/x/s/app", "/y/s/app"]), ["x/s/app", "y/s/app"]);
        assert_eq!(named(&["/x/app", "/x/app.git"]), ["/x/app", "/x/app.git"]);
        assert_eq!(named(&["/app", "/x/app"]), ["/app", "x/app"]);
        assert_eq!(named(&["https://h/a", "git@h:a.git"]), ["https://h/a", "git@h:a.git"]);
        assert_eq!(named(&["/"]), ["/"]);
        assert_eq!(named(&["/h/a", "https://h/a", "/x/a"]), ["/h/a", "https://h/a", "x/a"]);
    }

    proptest! {
        #[test]
        fn no_two_names_are_the_same(paths in proptest::collection::btree_set("(/[ab](\\.git)?){1,4}|https://h(/[ab]){1,2}(\\.git)?", 1..12)) {
            let locations: BTreeSet<Location> = paths.iter().filter_map(|path| Location::parse(path).ok()).collect();
            let locations: Vec<Location> = locations.into_iter().collect();
            let names: BTreeSet<String> = distinct(&locations).into_iter().collect();
            prop_assert_eq!(names.len(), locations.len());
        }
    }
}
