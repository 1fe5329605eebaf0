//! The keys of the step cache: two steps of the same key do the same to the same files.
//!
//! Owns what is in a key. A template counts as what it renders to where that is known before anything runs; where it is
//! not, as its text and whatever known variables it names, because the rest follows from the steps before. Invariant: the
//! encoding is canonical and unambiguous, and a change of it changes [`VERSION`].

use std::collections::{BTreeMap, BTreeSet};

use events::blob::Sha256;
use events::git::Oid;
use events::id::SecretId;
use events::runner::DEFAULT_POOL;
use events::secret::SecretVersion;
use sha2::Digest as _;

use crate::context::Context;
use crate::definition::{Action, Definition, Step};
use crate::output::Output;
use crate::template::{Known, Root, Template};

/// The encoding. Keys of another one are never met again.
const VERSION: &str = "step 1";

/// What decides, besides the definition, what a workspace's steps do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFacts {
    /// The commit that the steps start from.
    pub base_oid: Oid,
    /// Whether the files outside of the workspace are left out.
    pub only_fetch_workspace: bool,
    /// The pool of the runners that vouch for a result: those of one pool trust each other's.
    pub pool: String,
    /// The digest of the action's files, of which steps mount some.
    pub files: Option<Sha256>,
    /// The facts of each step that runs there, in the order of [`Definition::steps_in`]. Where an image is known only once
    /// an earlier step has ended, the list ends before it, and keys are asked for again then.
    pub steps: Vec<StepFacts>,
}

/// What decides, besides its definition, what a step does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepFacts {
    /// The digest of its image; of one that is built, that of the image that came out.
    pub image: String,
    /// The secrets that it gets.
    pub secrets: Vec<SecretVersion>,
}

/// What is known of a job before it runs, besides its definition.
#[derive(Clone, Copy, Debug)]
pub struct JobFacts<'a> {
    /// The commit that it starts from.
    pub base_oid: &'a Oid,
    /// The digest of the action's files; absent where no step mounts any.
    pub files: Option<&'a Sha256>,
    /// What the names of images mean, by name.
    pub images: &'a BTreeMap<String, String>,
    /// The secrets that its steps get.
    pub secrets: &'a [SecretVersion],
}

impl Definition {
    /// The pool whose runners its jobs ask for.
    pub fn pool(&self) -> &str {
        self.settings.pool.as_deref().unwrap_or(DEFAULT_POOL)
    }

    /// The images that the steps of a workspace name, in their order, up to the first step that can have no key.
    pub fn cacheable_images(&self, context: &Context) -> Vec<String> {
        let image = |position: usize| self.steps[position].cacheable_image(context);
        self.steps_in(context).into_iter().map_while(image).collect()
    }

    /// The number of the last step of a workspace that can have a key; 0 if none can.
    pub fn cacheable_steps(&self, context: &Context) -> usize {
        let has = |position: &usize| self.steps[*position].cacheable_image(context).is_some();
        self.steps_in(context).into_iter().take_while(has).last().map_or(0, |position| position + 1)
    }

    /// The keys of the steps of a job, each with the step's number from 1, as far as its images are known. Whoever keeps
    /// results and whoever looks for them makes the keys here.
    pub fn job_keys(&self, context: &Context, job: &JobFacts<'_>) -> Vec<(usize, Sha256)> {
        let place = (&context.repository.name, &context.steps.path);
        let Ok(only_fetch_workspace) = self.fetches_only(place.0, place.1) else { return Vec::new() };
        let positions = self.steps_in(context);
        let facts = |position: &usize| {
            let step = &self.steps[*position];
            let image = job.images.get(&step.cacheable_image(context)?)?.clone();
            let given = job.secrets.iter().filter(|secret| step.secrets.contains(&secret.name));
            Some(StepFacts { image, secrets: given.cloned().collect() })
        };
        let facts = CacheFacts {
            base_oid: job.base_oid.clone(),
            only_fetch_workspace,
            pool: self.pool().to_owned(),
            files: job.files.cloned(),
            steps: positions.iter().map_while(facts).collect(),
        };
        let keys = self.cache_keys(context, &facts);
        positions.into_iter().map(|position| position + 1).zip(keys).collect()
    }

    /// The keys of the steps that run in a workspace, as far as `facts` go. `context` knows the repository, the batch change
    /// and the workspace's path; the rest of it is not looked at. A key says all about the steps up to its own.
    pub fn cache_keys(&self, context: &Context, facts: &CacheFacts) -> Vec<Sha256> {
        let mut before = Encoder::new();
        before.text(VERSION);
        before.text(&context.repository.name);
        before.text(facts.base_oid.as_str());
        before.text(&context.steps.path);
        before.number(u64::from(facts.only_fetch_workspace));
        before.text(&facts.pool);
        // A step that reaches less may succeed with another result.
        before.text(self.settings.network.map_or("", |network| network.as_str()));
        let mut before = before.finish();
        let steps = self.steps_in(context).into_iter().zip(&facts.steps);
        let files = facts.files.as_ref().map_or("", Sha256::as_str);
        let key = |(position, facts): (usize, &StepFacts)| {
            let mut encoder = Encoder::new();
            encoder.text(before.as_str());
            let step = &self.steps[position];
            encoder.step((step, facts), context);
            encoder.mounts(step, files);
            // What is kept between jobs is what others of the action wrote there: no other action believes it.
            let name = if step.cache_dirs.is_empty() { "" } else { self.name.as_str() };
            encoder.text(name);
            before = encoder.finish();
            before.clone()
        };
        steps.map(key).collect()
    }
}

/// Writes each thing with its length before it, so that no two rows of things are written alike.
struct Encoder(sha2::Sha256);

impl Encoder {
    fn new() -> Self {
        Self(sha2::Sha256::new())
    }

    fn finish(self) -> Sha256 {
        Sha256::from_bytes(&self.0.finalize().into())
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    /// Texts in their order.
    fn texts<'t>(&mut self, texts: impl ExactSizeIterator<Item = &'t str>) {
        self.number(texts.len() as u64);
        texts.for_each(|text| self.text(text));
    }

    /// What has no order, by name.
    fn templates(&mut self, templates: &[(String, Template)], context: &Context) {
        let sorted: BTreeMap<&str, &Template> =
            templates.iter().map(|(name, value)| (name.as_str(), value)).collect();
        self.number(sorted.len() as u64);
        for (name, template) in sorted {
            self.text(name);
            self.template(template, context);
        }
    }

    fn template(&mut self, template: &Template, context: &Context) {
        if let Ok(rendered) = template.render_known(context, Known::Workspace) {
            self.text("rendered");
            return self.text(&rendered);
        }
        self.text("source");
        self.text(template.source());
        let known: Vec<Vec<&str>> =
            template.uses().flat_map(|(root, field)| known(root, field, context)).collect();
        self.number(known.len() as u64);
        known.iter().for_each(|values| self.texts(values.iter().copied()));
    }

    fn step(&mut self, (step, facts): (&Step, &StepFacts), context: &Context) {
        // The image says all about the container, whether it was named or built.
        self.text(&facts.image);
        self.action(&step.action, context);
        self.number(u64::from(step.condition.is_some()));
        step.condition.iter().for_each(|condition| self.template(condition, context));
        self.templates(&step.env, context);
        self.templates(&step.files, context);
        self.secrets(&facts.secrets);
        let kept: BTreeSet<&str> = step.cache_dirs.iter().map(String::as_str).collect();
        self.texts(kept.into_iter());
        let outputs: BTreeMap<&str, &Output> =
            step.outputs.iter().map(|output| (output.name.as_str(), output)).collect();
        self.number(outputs.len() as u64);
        for (name, output) in outputs {
            self.text(name);
            self.text(output.format.as_str());
            self.template(&output.value, context);
        }
    }

    /// Which of the action's files it finds where.
    fn mounts(&mut self, step: &Step, files: &str) {
        self.number(step.mounts.len() as u64);
        let mounts: BTreeMap<&str, &str> =
            step.mounts.iter().map(|mount| (mount.mountpoint.as_str(), mount.path.as_str())).collect();
        for (mountpoint, path) in mounts {
            self.texts([mountpoint, path, files].into_iter());
        }
    }

    fn action(&mut self, action: &Action, context: &Context) {
        match action {
            Action::Script(script) => {
                self.text("script");
                self.template(script, context);
            }
            Action::Arguments(arguments) => {
                self.text("arguments");
                self.texts(arguments.iter().map(String::as_str));
            }
            Action::Command(command) => {
                self.text("command");
                self.texts(command.iter().map(String::as_str));
            }
        }
    }

    /// Which secrets the names stand for, and their versions.
    fn secrets(&mut self, secrets: &[SecretVersion]) {
        let ids = secrets.iter().map(|secret| {
            (secret.name.as_str(), SecretId::of(&secret.scope, &secret.name).to_string(), secret.version)
        });
        let sorted: BTreeSet<_> = ids.collect();
        self.number(sorted.len() as u64);
        for (name, id, version) in sorted {
            self.text(name);
            self.text(&id);
            self.number(u64::from(version));
        }
    }
}

/// What a template knows by a name before anything runs, one list for each field.
fn known<'c>(root: Root, field: Option<&str>, context: &'c Context) -> Vec<Vec<&'c str>> {
    let Context { repository, batch_change, steps, .. } = context;
    let fields = match field {
        Some(field) => vec![field],
        None => root.fields().to_vec(),
    };
    let value = |field: &str| match (root, field) {
        (Root::Repository, "name") => Some(vec![repository.name.as_str()]),
        (Root::Repository, "branch") => Some(vec![repository.branch.as_str()]),
        (Root::Repository, "search_result_paths") => {
            Some(repository.search_result_paths.iter().map(String::as_str).collect())
        }
        (Root::BatchChange, "name") => Some(vec![batch_change.name.as_str()]),
        (Root::BatchChange, "description") => Some(vec![batch_change.description.as_str()]),
        (Root::Steps, "path") => Some(vec![steps.path.as_str()]),
        _ => None,
    };
    fields.into_iter().filter_map(value).collect()
}
