//! The repositories to run over, as the user names them.
//!
//! Owns the way from what was typed to clone URLs and absolute paths, and says what is wrong with a path before anything
//! is sent. Never runs git and never reaches out to a host.

use std::path::{Path, PathBuf};

use clap::Args;
use events::location::Location;

use crate::failure::Complaint;

/// Options that say over what.
#[derive(Args, Clone, Debug)]
pub(in crate::command) struct RepositoriesOption {
    /// A repository to run over: a path or a clone URL; repeat it for several
    #[arg(long = "repo", value_name = "PATH_OR_URL")]
    repositories: Vec<String>,

    /// Run over every git repository right below this folder
    #[arg(long, value_name = "DIR")]
    repos_from: Option<PathBuf>,
}

impl RepositoriesOption {
    /// Clone URLs and absolute paths; none: what the definition says.
    pub(in crate::command) fn locations(&self) -> anyhow::Result<Vec<String>> {
        locations(&self.repositories, self.repos_from.as_deref())
    }
}

/// Clone URLs and absolute paths, each once, in the order in which they were given.
fn locations(named: &[String], folder: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for text in named {
        all.push(if is_address(text) {
            Location::parse(text).map_err(Complaint::from)?.url().to_owned()
        } else {
            local(Path::new(text))?
        });
    }
    if let Some(folder) = folder {
        for path in repositories_in(folder)? {
            all.push(local(&path)?);
        }
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|location| seen.insert(location.clone()));
    Ok(all)
}

/// Whether this is an address and no path: as git has it, a colon before any slash, unless a file is called so.
fn is_address(text: &str) -> bool {
    let before_slash = text.split('/').next().unwrap_or_default();
    text.contains("://") || (before_slash.contains(':') && !Path::new(text).exists())
}

/// The absolute path of a repository.
fn local(path: &Path) -> Result<String, Complaint> {
    let shown = path.display();
    let absolute = std::fs::canonicalize(path).map_err(|error| {
        let hint = "name a folder with a git repository in it, or a clone URL such as https://host/path";
        Complaint::new(format!("{shown} cannot be used as a repository: {error}"), hint)
    })?;
    if !is_repository(&absolute) {
        let message = format!("{shown} is not a git repository");
        return Err(Complaint::new(message, hint_for(&absolute)));
    }
    absolute.into_os_string().into_string().map_err(|path| {
        let hint = "give the folder a name in UTF-8, or name a link to it that has one";
        Complaint::new(format!("the path {} is not UTF-8", path.to_string_lossy()), hint)
    })
}

fn hint_for(path: &Path) -> String {
    if let Some(root) = path.ancestors().skip(1).find(|folder| is_repository(folder)) {
        return format!("it belongs to the repository {}: name that", root.display());
    }
    if path.is_dir() && !folders(path).is_empty() && folders(path).iter().any(|folder| is_repository(folder))
    {
        return format!("it holds repositories: use --repos-from {}", path.display());
    }
    "name the folder that holds `.git`, or make one with `git init`".to_owned()
}

/// Whether git would take this as a repository: one with a work tree, or a bare one.
fn is_repository(path: &Path) -> bool {
    let is_git_dir = |folder: &Path| folder.join("HEAD").exists() && folder.join("objects").is_dir();
    // In a further work tree and in a submodule `.git` is a file that says where the rest is.
    let says_where = |file: &Path| std::fs::read(file).is_ok_and(|text| text.starts_with(b"gitdir:"));
    let inside = path.join(".git");
    is_git_dir(&inside) || says_where(&inside) || is_git_dir(path)
}

/// Every repository right below a folder, by name.
fn repositories_in(folder: &Path) -> Result<Vec<PathBuf>, Complaint> {
    let shown = folder.display();
    if let Err(error) = std::fs::read_dir(folder) {
        let message = format!("{shown} cannot be read: {error}");
        return Err(Complaint::new(message, "give --repos-from a folder that holds repositories"));
    }
    let found: Vec<PathBuf> =
        folders(folder).into_iter().filter(|path| is_repository(path) && !path.ends_with(".git")).collect();
    if found.is_empty() {
        let message = format!("{shown} holds no git repositories");
        let hint = if is_repository(folder) {
            format!("it is one itself: use --repo {shown}")
        } else {
            "give --repos-from the folder right above them".to_owned()
        };
        return Err(Complaint::new(message, hint));
    }
    Ok(found)
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(folder: &Path, arguments: &[&str]) {
        let status = std::process::Command::new("git")
            .arg("-C")
            .arg(folder)
            .args(["-c", "user.name=T", "-c", "user.email=t@example.com"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    }

    fn text(path: &Path) -> String {
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn paths_are_checked_and_made_absolute() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        for name in ["beta", "alpha", "plain/below"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        git(&root.join("beta"), &["init", "--quiet"]);
        git(&root.join("beta"), &["commit", "--quiet", "--allow-empty", "--message", "x"]);
        git(&root.join("alpha"), &["init", "--quiet", "--bare"]);
        git(&root.join("beta"), &["worktree", "add", "--quiet", &text(&root.join("gamma"))]);
        std::fs::create_dir(root.join("beta/src")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();

        let all = locations(&[text(&root.join("./plain/../beta"))], Some(&root)).unwrap();
        assert_eq!(all, ["beta", "alpha", "gamma"].map(|name| text(&root.join(name))));

        let complaint =
            |path: &Path| locations(&[text(path)], None).unwrap_err().downcast::<Complaint>().unwrap();
        assert!(complaint(&root.join("nowhere")).message.contains("nowhere"));
        assert!(complaint(&root.join("file")).message.contains("not a git repository"));
        assert!(complaint(&root).hint.contains("--repos-from"));
        assert!(complaint(&root.join("beta/src")).hint.contains("/beta: name that"));
        assert!(locations(&[], Some(&root.join("plain"))).is_err());
        let itself = locations(&[], Some(&root.join("beta"))).unwrap_err().downcast::<Complaint>().unwrap();
        assert!(itself.hint.contains("--repo "), "{itself:?}");
    }

    #[test]
    fn addresses_are_told_from_paths() {
        let named = ["https://host/a.git", "git@host:b/c", "https://host/a.git"].map(str::to_owned);
        assert_eq!(locations(&named, None).unwrap(), ["https://host/a.git", "git@host:b/c"]);
        let secret = locations(&["https://token@host/a".to_owned()], None).unwrap_err().to_string();
        assert!(!secret.contains("token"), "{secret}");
    }
}
