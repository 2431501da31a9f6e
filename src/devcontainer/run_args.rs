//! `runArgs`: what of `docker run` a repository may ask for. All that could widen its reach is refused, and named.

use serde::{Deserialize, Serialize};

use super::notice::Notices;

/// Most arguments that are looked at.
const MAX_ARGUMENTS: usize = 64;
/// Largest `--shm-size` in bytes; it counts as memory of the codespace.
const MAX_SHM: u64 = 64 << 30;

/// What may be asked for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct RunOptions {
    /// Whether a small init is the first process.
    pub init: bool,
    /// Whether programs may trace others, as debuggers do.
    pub trace: bool,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// Entries of `/etc/hosts`, as `name:address`.
    pub hosts: Vec<String>,
}

/// What else arguments say.
#[derive(Default)]
pub struct Aside {
    pub user: Option<String>,
    /// As `NAME=VALUE`.
    pub environment: Vec<String>,
}

/// Arguments that are refused, and why.
const REFUSED: [(&[&str], &str); 6] = [
    (
        &[
            "--privileged",
            "--device",
            "--security-opt",
            "--gpus",
            "--cgroupns",
            "--cgroup-parent",
            "--userns",
        ],
        "it would give the codespace rights over this machine",
    ),
    (
        &["--network", "--net", "--pid", "--ipc", "--uts"],
        "it would open other codespaces or this machine to it",
    ),
    (
        &["-p", "--publish", "-P", "--publish-all"],
        "ports are forwarded by themselves, each with a URL of its own",
    ),
    (&["-v", "--volume", "--mount", "--volumes-from"], "use mounts with a volume"),
    (
        &[
            "-m",
            "--memory",
            "--memory-swap",
            "--cpus",
            "--cpuset-cpus",
            "--pids-limit",
            "--ulimit",
        ],
        "the operator of this gateway sets the bounds",
    ),
    (
        &[
            "--name",
            "-h",
            "--hostname",
            "-l",
            "--label",
            "--rm",
            "-d",
            "--detach",
            "-it",
            "-i",
            "-t",
            "--restart",
            "--entrypoint",
            "-w",
            "--workdir",
        ],
        "the gateway sets it itself",
    ),
];

impl RunOptions {
    /// Reads arguments as `docker run` takes them.
    pub fn read(arguments: &[String], notices: &mut Notices) -> (Self, Aside) {
        let (mut options, mut aside) = (Self::default(), Aside::default());
        let mut left = arguments.iter().take(MAX_ARGUMENTS).peekable();
        if arguments.len() > MAX_ARGUMENTS {
            notices.note("runArgs", format!("only the first {MAX_ARGUMENTS} are looked at"));
        }
        while let Some(argument) = left.next() {
            let (flag, attached) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with('-') => (flag, Some(value.to_owned())),
                _ => (argument.as_str(), None),
            };
            let value = attached.or_else(|| {
                let takes = flag.starts_with('-') && !["--init", "--privileged", "--rm", "-d", "-it", "-i", "-t", "-P"].contains(&flag);
                left.next_if(|next| takes && !next.starts_with('-')).cloned()
            });
            let value = value.unwrap_or_default();
            if let Err(reason) = options.take(flag, &value, &mut aside) {
                notices.note(format!("runArgs {flag}"), reason);
            }
        }
        (options, aside)
    }

    fn take(&mut self, flag: &str, value: &str, aside: &mut Aside) -> Result<(), &'static str> {
        match flag {
            "--init" => self.init = value.is_empty() || value == "true",
            "--cap-add" => self.capability(value)?,
            "--shm-size" => self.shared_memory(value)?,
            "--add-host" => self.host(value)?,
            "-u" | "--user" => aside.user = Some(value.to_owned()),
            "-e" | "--env" if value.contains('=') => aside.environment.push(value.to_owned()),
            "-e" | "--env" => return Err("it would take the value from the gateway's own environment"),
            _ => return Err(refusal(flag)),
        }
        Ok(())
    }

    /// Sets the size of `/dev/shm`.
    pub(super) fn shared_memory(&mut self, size: &str) -> Result<(), &'static str> {
        let size = bytes(size).filter(|size| *size <= MAX_SHM);
        self.shm_size = Some(size.ok_or("it is no size that can be had")?);
        Ok(())
    }

    /// Adds an entry of `/etc/hosts`, as `name:address`.
    pub(super) fn host(&mut self, entry: &str) -> Result<(), &'static str> {
        if !is_host(entry) {
            return Err("it is not of the form name:address");
        }
        self.hosts.push(entry.to_owned());
        Ok(())
    }

    /// Gives a right, if it is one that reaches no further than the codespace.
    pub fn capability(&mut self, name: &str) -> Result<(), &'static str> {
        if !name.trim_start_matches("CAP_").eq_ignore_ascii_case("SYS_PTRACE") {
            return Err("only SYS_PTRACE, which debuggers need, is given");
        }
        self.trace = true;
        Ok(())
    }
}

fn refusal(flag: &str) -> &'static str {
    let refused = REFUSED.iter().find(|(flags, _)| flags.contains(&flag));
    refused.map_or("it is not among what the gateway passes on", |(_, reason)| reason)
}

/// `64m`, `2gb`, `1024`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let factor: u64 = match lower[end..].trim() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        "t" | "tb" => 1 << 40,
        _ => return None,
    };
    let (whole, part) = lower[..end].split_once('.').unwrap_or((&lower[..end], "0"));
    let tenths = u64::from(part.bytes().next()?.wrapping_sub(b'0'));
    let whole: u64 = whole.parse().ok().filter(|whole| *whole < 1 << 50)?;
    whole.checked_mul(factor)?.checked_add(tenths.min(9) * (factor / 10))
}

fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    // `host-gateway` stands for this machine.
    let Some((name, address)) = text.split_once(':') else {
        return false;
    };
    (1..=253).contains(&name.len()) && name.chars().all(plain) && address.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> (RunOptions, Aside, Vec<String>) {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let mut notices = Notices::default();
        let (options, aside) = RunOptions::read(&arguments, &mut notices);
        (options, aside, notices.into_iter().map(|notice| notice.key).collect())
    }

    #[test]
    fn what_is_harmless_passes() {
        let (options, aside, notices) = read(&[
            "--init",
            "--cap-add=SYS_PTRACE",
            "--shm-size",
            "1g",
            "--add-host=db:10.0.0.1",
            "-u",
            "node",
            "-e",
            "A=b=c",
        ]);
        let expected = RunOptions {
            init: true,
            trace: true,
            shm_size: Some(1 << 30),
            hosts: vec!["db:10.0.0.1".into()],
        };
        assert_eq!((options, notices), (expected, vec![]));
        assert_eq!((aside.user.as_deref(), aside.environment), (Some("node"), vec!["A=b=c".to_owned()]));
    }

    #[test]
    fn what_widens_its_reach_is_refused_and_named() {
        for refused in [
            &["--privileged"][..],
            &["--network=host"],
            &["--net", "host"],
            &["-v", "/:/host"],
            &["--mount=type=bind,source=/,target=/host"],
            &["--device", "/dev/kvm"],
            &["--security-opt", "seccomp=unconfined"],
            &["--cap-add", "SYS_ADMIN"],
            &["--cap-add=ALL"],
            &["--pid=host"],
            &["-p", "80:80"],
            &["--memory=64g"],
            &["--label", "portico.codespace=other"],
            &["--add-host", "x:host-gateway"],
            &["-e", "PORTICO_SECRET"],
            &["--shm-size=900g"],
            &["--something-new", "x"],
            &["stray"],
        ] {
            let (options, aside, notices) = read(refused);
            assert_eq!(options, RunOptions::default(), "{refused:?}");
            assert!(aside.environment.is_empty() && aside.user.is_none());
            assert_eq!(notices.len(), 1, "{refused:?}: {notices:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("64m", Some(64 << 20)),
            ("8gb", Some(8 << 30)),
            ("1024", Some(1024)),
            ("1.5k", Some(1024 + 5 * 102)),
            ("", None),
            ("x", None),
            ("9999999999999999999g", None),
            ("1q", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}
