//! A directory of its own for one run of the command line: what it sees, and what it leaves there.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{
    devcontainer::{Build, FOLDER, FeatureFile, NAME},
    runtime::docker::context,
};

/// What it takes for `docker`. It knows one image, and keeps the words of each build apart by an empty one.
const STAND_IN: &str = r#"#!/bin/sh
here=${0%/*}
case ${1-} in
  inspect) exec cat -- "$here/image.json" ;;
  build) { for word; do printf '%s\0' "$word"; done; printf '\0'; } >>"$here/builds" ;;
  *) exit 1 ;;
esac
"#;
/// The image that would hold what is installed from; here it is a stage of the same build.
const CONTENT: &str = "FROM dev_container_feature_content_temp ";
const CONTENT_STAGE: &str = "AS dev_containers_feature_content_source\n";
/// The label in which an image says what it is made of.
const LABEL: &str = "devcontainer.metadata";
/// Most bytes of what is written down of builds.
const MAX_WORDS: u64 = 64 * 1024;
/// Largest Dockerfile in bytes.
const MAX_DOCKERFILE: u64 = 1 << 20;
/// What a feature says of itself, and most bytes of it.
const FEATURE: &str = "devcontainer-feature.json";
const MAX_FEATURE: u64 = 256 * 1024;
/// A room as old as that is left of a gateway that ended in the midst of a run.
const LEFT: Duration = Duration::from_secs(6 * 3600);

/// The directory; removed with all that is in it when it is dropped.
#[derive(Debug)]
pub struct Room(PathBuf);

/// What is to be built.
#[derive(Debug)]
pub struct Recipe {
    pub build: Build,
    pub dockerfile: String,
    /// The context, the Dockerfile in it.
    pub archive: Vec<u8>,
    /// The features that are in it and that those need, by their names.
    pub needed: BTreeSet<String>,
}

impl Room {
    pub fn make(data: &Path) -> io::Result<Self> {
        let rooms = data.join("features");
        sweep(&rooms, SystemTime::now());
        let path = rooms.join(format!("{:032x}", rand::random::<u128>()));
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        let room = Self(fs::canonicalize(path)?);
        for directory in ["home", "tmp"] {
            fs::create_dir(room.0.join(directory))?;
        }
        fs::create_dir_all(room.folder(FOLDER))?;
        Ok(room)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A folder of the repository's, in here.
    pub fn folder(&self, path: &str) -> PathBuf {
        self.0.join("workspace").join(path)
    }

    /// Writes what is known of the image, and the file that says what to install.
    pub fn furnish(&self, image: &[u8], file: &str) -> io::Result<()> {
        fs::write(self.0.join("image.json"), image)?;
        fs::write(self.folder(FOLDER).join(NAME), file)?;
        let mut stand_in = OpenOptions::new().write(true).create_new(true).mode(0o700).open(self.stand_in())?;
        stand_in.write_all(STAND_IN.as_bytes())
    }

    /// Looks at a feature of the repository's own before the program does: it needs no other than those of which `is_had` holds,
    /// and the program reads just what was looked at.
    pub fn vet(&self, folder: &str, is_had: &dyn Fn(&str) -> bool) -> io::Result<()> {
        let path = self.folder(folder).join(FEATURE);
        let mut file = FeatureFile::read(&read(&path, MAX_FEATURE)?).map_err(io::Error::other)?;
        if let Some(id) = file.needs().find(|id| !is_had(id)) {
            let id: String = id.chars().filter(|c| !c.is_control()).take(200).collect();
            return Err(io::Error::other(format!("it depends on {id}, which is not allowed here")));
        }
        file.keep_after(is_had);
        fs::write(path, file.to_string())
    }

    /// What the program is asked.
    pub fn arguments(&self) -> Vec<OsString> {
        let words = [
            "build",
            "--buildkit",
            "never",
            "--image-name",
            "portico-features",
            "--workspace-folder",
        ];
        let mut all: Vec<OsString> = words.map(OsString::from).into();
        all.extend([self.0.join("workspace").into(), "--docker-path".into(), self.stand_in().into()]);
        all
    }

    pub fn environment(&self) -> [(&str, PathBuf); 2] {
        [("HOME", self.0.join("home")), ("TMPDIR", self.0.join("tmp"))]
    }

    /// A text without where this is.
    pub fn hide(&self, text: &str) -> String {
        text.replace(&*self.0.to_string_lossy(), "")
    }

    /// Reads what is to be built: one build for what is installed from, and one that installs it, of a Dockerfile that is marked
    /// as ours. Blocking.
    pub fn recipe(&self, mark: impl Fn(&str) -> String) -> io::Result<Recipe> {
        let words = read(&self.0.join("builds"), MAX_WORDS)?;
        let mut builds = words.split("\0\0").map(|words| words.split('\0').collect::<Vec<_>>());
        let (Some(content), Some(install)) = (builds.next(), builds.next().filter(|words| words.len() > 1)) else {
            return Err(io::Error::other("it wanted to build something else than features"));
        };
        let context = self.inside(content.last().copied().unwrap_or_default())?;
        let (mut build, mut file) = (Build::default(), None);
        let mut left = install.into_iter();
        while let Some(word) = left.next() {
            let mut value = || left.next().unwrap_or_default();
            match word {
                "-f" => file = Some(self.inside(value())?),
                "--target" => build.target = Some(value().to_owned()),
                "--build-arg" => {
                    let (name, value) = value().split_once('=').unwrap_or_default();
                    build.args.insert(name.to_owned(), value.to_owned());
                }
                _ => {}
            }
        }
        let file = file.ok_or_else(|| io::Error::other("it named no Dockerfile"))?;
        let text = read(&file, MAX_DOCKERFILE)?;
        let mut needed = needed(&context)?;
        needed.extend(installed(&text, self.inherited()?)?);
        let dockerfile = mark(&in_one(&text)?);
        let archive = context::pack(&context, &dockerfile)?;
        Ok(Recipe {
            build,
            dockerfile,
            archive,
            needed,
        })
    }

    /// How many parts the image says that it is made of, by its own label.
    fn inherited(&self) -> io::Result<usize> {
        let about: Value = serde_json::from_slice(&fs::read(self.0.join("image.json"))?)?;
        let label = about.pointer("/0/Config/Labels").and_then(|labels| labels.get(LABEL));
        let parts = label.and_then(Value::as_str).and_then(|label| serde_json::from_str(label).ok());
        Ok(match parts {
            // Those that say nothing are left out of the next label.
            Some(Value::Array(parts)) => parts.iter().filter(|part| says_something(part)).count(),
            Some(Value::Object(_)) => 1,
            _ => 0,
        })
    }

    fn stand_in(&self) -> PathBuf {
        self.0.join("docker")
    }

    /// A path that the program gave, where it is in here.
    fn inside(&self, path: &str) -> io::Result<PathBuf> {
        let path = fs::canonicalize(path)?;
        if path.starts_with(self.0.join("tmp")) {
            Ok(path)
        } else {
            Err(io::Error::other("it wanted to build what is not its own"))
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What stays is in the way of nothing.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what a gateway that was killed left here.
fn sweep(rooms: &Path, now: SystemTime) {
    for room in fs::read_dir(rooms).into_iter().flatten().flatten() {
        let age = room.metadata().and_then(|about| about.modified()).map(|at| now.duration_since(at));
        if matches!(age, Ok(Ok(age)) if age > LEFT) {
            let _ = fs::remove_dir_all(room.path());
        }
    }
}

/// What the features in a context, each in a folder of its own, need.
fn needed(context: &Path) -> io::Result<BTreeSet<String>> {
    let mut needed = BTreeSet::new();
    for folder in fs::read_dir(context)? {
        let file = folder?.path().join(FEATURE);
        // What is no file of it own is what no feature has.
        if fs::symlink_metadata(&file).is_ok_and(|about| about.is_file()) {
            let file = FeatureFile::read(&read(&file, MAX_FEATURE)?).map_err(io::Error::other)?;
            needed.extend(file.needs().map(str::to_owned));
        }
    }
    Ok(needed)
}

/// The features that the program says it installs, in the label that it writes upon the `inherited` parts of the image's own. What a
/// registry says that a feature needs is in no file of it (`dev.containers.metadata` of its manifest): it is named here alone.
fn installed(dockerfile: &str, inherited: usize) -> io::Result<BTreeSet<String>> {
    let unclear = || io::Error::other("it does not say clearly what it installs");
    let begins = format!("{LABEL}=\"");
    let mut pieces = dockerfile.split(&begins);
    // A second one would be a feature's own.
    let (Some(_), Some(label), None) = (pieces.next(), pieces.next(), pieces.next()) else {
        return Err(unclear());
    };
    let parts = serde_json::from_str(&quoted(label).ok_or_else(unclear)?).map_err(|_| unclear())?;
    let parts = match parts {
        Value::Array(parts) => parts,
        part => vec![part],
    };
    let ids = parts.iter().skip(inherited).filter_map(|part| part.get("id"));
    ids.map(|id| id.as_str().map(str::to_owned).ok_or_else(unclear)).collect()
}

/// A text of a Dockerfile up to its closing quote, as an engine reads it.
fn quoted(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some(plain),
            '\\' => plain.extend(chars.next().filter(|c| *c != '\n')),
            c => plain.push(c),
        }
    }
}

/// Whether there is anything in it.
fn says_something(part: &Value) -> bool {
    match part {
        Value::Object(object) => !object.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => false,
    }
}

/// A Dockerfile that takes what is installed from its own context, not from an image by a name that all builds share.
fn in_one(dockerfile: &str) -> io::Result<String> {
    let changed = |line: &str| {
        let rest = line.strip_prefix(CONTENT)?;
        rest.to_ascii_lowercase()
            .starts_with("as dev_containers_feature_content_source")
            .then_some(())
    };
    let mut lines = dockerfile.split_inclusive('\n');
    let mut text = String::with_capacity(dockerfile.len() + 64);
    let found = lines.by_ref().find(|line| {
        let found = changed(line).is_some();
        if !found {
            text.push_str(line);
        }
        found
    });
    if found.is_none() {
        return Err(io::Error::other(
            "this version of the command line builds in a way that is not known here",
        ));
    }
    text.push_str("FROM scratch ");
    text.push_str(CONTENT_STAGE);
    text.push_str("COPY . /tmp/build-features/\n");
    lines.for_each(|line| text.push_str(line));
    Ok(text)
}

fn read(path: &Path, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    let mut file = io::Read::take(fs::File::open(path)?, limit + 1);
    io::Read::read_to_string(&mut file, &mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::other("what is to be built is described at too great a length"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn room() -> (tempfile::TempDir, Room) {
        let data = tempfile::tempdir().expect("a directory");
        let room = Room::make(data.path()).expect("made");
        room.furnish(b"[{}]", "{}").expect("furnished");
        (data, room)
    }

    fn docker(room: &Room, words: &[&str]) -> (bool, String) {
        let done = Command::new(room.stand_in()).args(words).output().expect("it runs");
        (done.status.success(), String::from_utf8(done.stdout).expect("text"))
    }

    #[test]
    fn what_is_asked_of_docker_becomes_one_build() {
        let (data, room) = room();
        assert_eq!(docker(&room, &["inspect", "--type", "image", "x"]), (true, "[{}]".into()));
        assert!(!docker(&room, &["run", "x"]).0);
        let context = room.path().join("tmp/features");
        fs::create_dir_all(context.join("tool_0")).expect("made");
        fs::write(context.join("tool_0/install.sh"), "#!/bin/sh\n").expect("written");
        fs::write(context.join("tool_0").join(FEATURE), r#"{"dependsOn":{"ghcr.io/a/b:1":{}}}"#).expect("written");
        let path = |name: &str| context.join(name).to_string_lossy().into_owned();
        let text = "\nARG _DEV_CONTAINERS_BASE_IMAGE=scratch\n\nFROM dev_container_feature_content_temp as dev_containers_feature_content_source\nFROM $_DEV_CONTAINERS_BASE_IMAGE AS target\nRUN true\nLABEL devcontainer.metadata=\"[ \\\n{\\\"id\\\":\\\"./tool\\\"} \\\n]\"\n";
        fs::write(path("Dockerfile.extended"), text).expect("written");
        assert!(room.recipe(str::to_owned).is_err(), "nothing is to be built");
        docker(&room, &["build", "-t", "content", "-f", &path("Dockerfile.content"), &path("")]);
        assert!(room.recipe(str::to_owned).is_err(), "nothing is installed");
        docker(
            &room,
            &[
                "build",
                "--build-arg",
                "_DEV_CONTAINERS_BASE_IMAGE=base:1",
                "--target",
                "target",
                "-f",
                &path("Dockerfile.extended"),
                "-t",
                "x",
                "/empty",
            ],
        );
        let recipe = room.recipe(str::to_owned).expect("it is told");
        assert_eq!(recipe.build.target.as_deref(), Some("target"));
        assert_eq!(recipe.build.args["_DEV_CONTAINERS_BASE_IMAGE"], "base:1");
        assert_eq!(recipe.needed, BTreeSet::from(["./tool", "ghcr.io/a/b:1"].map(str::to_owned)));
        assert!(
            recipe
                .dockerfile
                .contains("FROM scratch AS dev_containers_feature_content_source\nCOPY . /tmp/build-features/\nFROM $_"),
            "{}",
            recipe.dockerfile
        );
        let upon = super::super::bases::check(&recipe.dockerfile, &recipe.build.args).expect("it is understood");
        assert_eq!(upon.all().collect::<Vec<_>>(), ["base:1"]);
        let gone = room.path().to_owned();
        drop(room);
        assert!(!gone.exists() && data.path().exists());
    }

    #[test]
    fn what_is_installed_is_read_off_the_label() {
        #[track_caller]
        fn check(label: &str, inherited: usize, expected: Option<&[&str]>) {
            let found = installed(&format!("FROM x\n{label}\nENV A=\"b\"\n"), inherited).ok();
            let expected = expected.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
            assert_eq!(found, expected, "{label}");
        }
        // As the program writes it: of the image's own, a feature that was asked for, one that a registry says it needs, the file's.
        let whole = r#"LABEL devcontainer.metadata="[ \
{\"id\":\"ghcr.io/of/the-image:1\",\"containerEnv\":{\"A\":\"\${B}\\\"c\"}}, \
{\"id\":\"ghcr.io/good/a:1\"}, \
{\"id\":\"evil.example/x/y:1\",\"init\":true}, \
{\"remoteUser\":\"dev\"} \
]""#;
        check(whole, 1, Some(&["evil.example/x/y:1", "ghcr.io/good/a:1"]));
        check(whole, 3, Some(&[]));
        check(r#"LABEL devcontainer.metadata="{\"id\":\"o/r/f\"}""#, 0, Some(&["o/r/f"]));
        check(&format!("{whole}\nENV X=\"\nLABEL devcontainer.metadata=\"[]\""), 1, None);
        for unclear in [
            "",
            "LABEL devcontainer.metadata=[]",
            r#"LABEL devcontainer.metadata="[ \"#,
            r#"LABEL devcontainer.metadata="[{\"id\":7}]""#,
        ] {
            check(unclear, 0, None);
        }
    }

    #[test]
    fn what_an_image_says_of_itself_is_not_installed_again() {
        let data = tempfile::tempdir().expect("a directory");
        for (label, expected) in [
            (Value::from(r#"[{"id":"a"},{},{"remoteUser":"b"}]"#), 2),
            (Value::from(r#"{"id":"a"}"#), 1),
            (Value::from("junk"), 0),
            (Value::Null, 0),
        ] {
            let room = Room::make(data.path()).expect("made");
            let about = serde_json::json!([{ "Config": { "Labels": { LABEL: label } } }]);
            room.furnish(about.to_string().as_bytes(), "{}").expect("furnished");
            assert_eq!(room.inherited().ok(), Some(expected), "{about}");
        }
    }

    #[test]
    fn a_feature_of_the_repositorys_own_names_no_more_than_others() {
        let (_data, room) = room();
        let folder = ".devcontainer/tool";
        fs::create_dir_all(room.folder(folder)).expect("made");
        let path = room.folder(folder).join(FEATURE);
        let vet = |text: &str| {
            fs::write(&path, text).expect("written");
            room.vet(folder, &|id| id.starts_with("ghcr.io/good/"))
        };
        vet(r#"{ /* mine */ "id": "tool", "dependsOn": { "ghcr.io/good/a": {} }, "installsAfter": ["ghcr.io/good/b", "https://10.0.0.1/x.tgz"], }"#)
            .expect("it is good");
        let text = fs::read_to_string(&path).expect("there");
        assert!(text.contains("ghcr.io/good/b") && !text.contains("10.0.0.1"), "{text}");
        for bad in [
            r#"{ "dependsOn": { "https://169.254.169.254/x.tgz": {} } }"#,
            r#"{ "dependsOn": { "ghcr.io/good/a": {}, "0x7f.1/a/b": true } }"#,
            r#"{ "dependsOn": ["https://169.254.169.254/x.tgz"] }"#,
            "{ \"id\": \"tool\", \"dependsOn\": { \"https://x/y.tgz\": {} }",
        ] {
            assert!(vet(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rooms_that_were_left_are_swept() {
        let data = tempfile::tempdir().expect("a directory");
        let path = data.path().join("features/old");
        fs::create_dir_all(&path).expect("made");
        sweep(&data.path().join("features"), SystemTime::now());
        assert!(path.exists());
        sweep(&data.path().join("features"), SystemTime::now() + 2 * LEFT);
        assert!(!path.exists());
        sweep(&data.path().join("none"), SystemTime::now());
    }

    #[test]
    fn nothing_else_of_this_machine_is_built() {
        let (_data, room) = room();
        docker(&room, &["build", "-t", "content", "/etc"]);
        docker(&room, &["build", "-f", "/etc/passwd", "-t", "x", "/etc"]);
        let refused = room.recipe(str::to_owned).expect_err("it is refused");
        assert!(refused.to_string().contains("not its own"), "{refused}");
        assert!(in_one("FROM debian\n").is_err());
    }
}
