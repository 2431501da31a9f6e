//! Paths that a repository names: what is below its checkout, and where a volume may be.

/// A path relative to a directory below the checkout, as one below the checkout; none where it leaves it.
pub(super) fn below(directory: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\0') || path.len() > 1024 {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Most names of a path at which a volume is mounted. Engines mount the shallow first: what is deeper than any volume is hidden by
/// none, wherever an image's links lead.
pub const DEEPEST: usize = 9;

/// Whether a volume may be mounted there: not over what the system, the checkout or the agent needs.
pub(super) fn is_free(target: &str) -> bool {
    const TAKEN: [&str; 12] = [
        "/portico", "/proc", "/sys", "/dev", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/usr", "/boot", "/run",
    ];
    let parts: Vec<&str> = target.split('/').collect();
    let plain = target.starts_with('/') && target.len() <= 512 && !target.chars().any(char::is_control);
    let straight = parts.iter().skip(1).all(|part| !part.is_empty() && *part != "." && *part != "..");
    // Below /workspaces, but not that itself; below /usr/local, but not that itself.
    let taken = TAKEN
        .iter()
        .any(|taken| target == *taken || target.strip_prefix(taken).is_some_and(|rest| rest.starts_with('/')));
    let allowed = !taken || target.starts_with("/usr/local/");
    plain && straight && allowed && parts.len() - 1 <= DEEPEST && target != "/workspaces" && target != "/tmp"
}
