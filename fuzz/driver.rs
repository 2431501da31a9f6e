//! Feeds a target with mutants of its corpus for as long as `PORTICO_FUZZ_SECONDS` says.
//!
//! Without a nightly compiler nobody counts which code ran; instead, an input whose outcome is of a new kind is kept as a
//! parent of others.

use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    fs,
    hash::{Hash, Hasher as _},
    io::{Write as _, stderr},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const DEFAULT_SECONDS: f64 = 2.0;
const MAX_INPUT_BYTES: usize = 4096;
const MAX_PARENTS: usize = 4096;

/// Runs a target on its whole corpus and then on mutants; its outcome's kind is whatever can be hashed.
pub fn fuzz<K: Hash>(name: &str, words: &[&str], target: impl Fn(&[u8]) -> K) {
    let mut parents = corpus(name);
    assert!(!parents.is_empty(), "{name} has a corpus");
    let seed = seed();
    // Past the harness, which would keep it for itself when a target hangs or takes the whole process along.
    drop(writeln!(stderr(), "{name}: PORTICO_FUZZ_SEED={seed}"));
    let (mut dice, mut kinds, given) = (Dice(seed ^ of_thread()), HashSet::new(), parents.len());
    for (run, input) in parents.iter().enumerate() {
        kinds.insert(tried(name, input, (seed, run), &target));
    }
    let until = Instant::now() + seconds();
    let mut runs = parents.len();
    while Instant::now() < until {
        let input = mutant(&parents, words, &mut dice);
        runs += 1;
        if kinds.insert(tried(name, &input, (seed, runs), &target)) && parents.len() < MAX_PARENTS {
            parents.push(input);
        }
    }
    keep(name, &parents[given..]);
    eprintln!("{name}: {runs} inputs, {} kinds of outcome", kinds.len());
}

fn tried<K: Hash>(name: &str, input: &[u8], (seed, run): (u64, usize), target: &impl Fn(&[u8]) -> K) -> u64 {
    match catch_unwind(AssertUnwindSafe(|| target(input))) {
        Ok(kind) => {
            let mut hasher = DefaultHasher::new();
            kind.hash(&mut hasher);
            hasher.finish()
        }
        Err(panic) => {
            let mut hasher = DefaultHasher::new();
            input.hash(&mut hasher);
            let file = directory().join("found").join(format!("{name}-{:016x}", hasher.finish()));
            fs::create_dir_all(file.parent().unwrap_or(Path::new("."))).expect("a directory");
            fs::write(&file, input).expect("written");
            eprintln!(
                "{name} fails on {}, number {run} of PORTICO_FUZZ_SEED={seed}; once it is mended, move it to fuzz/corpus/{name}/",
                file.display()
            );
            resume_unwind(panic)
        }
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The corpus, and what failed here and was not moved there yet: another try that does not come upon it mends nothing.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(directory().join("corpus").join(name)).expect("a corpus");
    let found = fs::read_dir(directory().join("found")).into_iter().flatten();
    let of_target = |path: &PathBuf| {
        let file = path
            .file_name()
            .and_then(|file| file.to_str())
            .and_then(|file| file.rsplit_once('-'));
        file.is_some_and(|(target, _)| target == name)
    };
    let found = found.map(|file| file.expect("a file").path()).filter(of_target);
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).chain(found).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("read")).collect()
}

fn seconds() -> Duration {
    let text = std::env::var("PORTICO_FUZZ_SECONDS").ok();
    Duration::from_secs_f64(text.map_or(DEFAULT_SECONDS, |text| text.parse().expect("PORTICO_FUZZ_SECONDS is a number")))
}

/// Another each time, told so that a run can be repeated with `PORTICO_FUZZ_SEED`.
pub fn seed() -> u64 {
    let text = std::env::var("PORTICO_FUZZ_SEED").ok();
    text.map_or_else(rand::random, |text| text.parse().expect("PORTICO_FUZZ_SEED is a number"))
}

/// A stream of chances for each thread that runs a target, the same in each run.
fn of_thread() -> u64 {
    let mut hasher = DefaultHasher::new();
    std::thread::current().name().hash(&mut hasher);
    hasher.finish()
}

/// Leaves inputs whose outcome was of a new kind in the directory that `PORTICO_FUZZ_KEEP` names, to choose a corpus from.
fn keep(name: &str, inputs: &[Vec<u8>]) {
    let Ok(directory) = std::env::var("PORTICO_FUZZ_KEEP") else {
        return;
    };
    for input in inputs {
        let mut hasher = DefaultHasher::new();
        input.hash(&mut hasher);
        let file = Path::new(&directory).join(format!("{name}-{:016x}", hasher.finish()));
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(file, input).expect("written");
    }
}

pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).expect("31 bits") % sides.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).expect("a byte")
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }
}

fn mutant(parents: &[Vec<u8>], words: &[&str], dice: &mut Dice) -> Vec<u8> {
    let mut input = parents[dice.roll(parents.len())].clone();
    for _ in 0..=dice.roll(6) {
        let at = dice.roll(input.len() + 1);
        let end = (at + 1 + dice.roll(8)).min(input.len());
        match dice.roll(9) {
            0 if at < input.len() => input[at] ^= 1 << dice.roll(8),
            1 if at < input.len() => input[at] = dice.byte(),
            2 => input.insert(at, dice.byte()),
            3 if at < end => drop(input.drain(at..end)),
            4 if at < end => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            5 | 6 if !words.is_empty() => drop(input.splice(at..at, dice.pick(words).bytes())),
            7 => {
                let other = &parents[dice.roll(parents.len())];
                let from = dice.roll(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ if at < input.len() => {
                input[at] = if input[at].is_ascii_uppercase() {
                    input[at].to_ascii_lowercase()
                } else {
                    input[at].to_ascii_uppercase()
                }
            }
            _ => {}
        }
    }
    input.truncate(MAX_INPUT_BYTES);
    input
}
