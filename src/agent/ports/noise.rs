//! Listening ports that are no concern of the user's: debuggers, language servers, the machine's own services.
//!
//! Pure: decides by port, process name and command line, all of which a program can choose. It is about what is shown;
//! whatever is decided here, the port can be dialled.

use std::{ops::RangeInclusive, sync::LazyLock};

use regex::Regex;

/// Where Node's inspector listens if nobody says where, and the ports that children of such a process take.
const NODE_INSPECTOR: RangeInclusive<u16> = 9229..=9249;

/// Programs that are debuggers themselves; what they debug runs in a process of its own.
const DEBUGGERS: [&str; 8] = [
    "dlv",
    "gdbserver",
    "lldb-server",
    "lldb-dap",
    "codelldb",
    "vsdbg",
    "vsdbg-ui",
    "netcoredbg",
];

/// Services of a machine that are there before anybody works on it.
const SERVICES: [&str; 8] = [
    "sshd",
    "systemd-resolve",
    "systemd-resolved",
    "rpcbind",
    "cupsd",
    "avahi-daemon",
    "chronyd",
    "exim4",
];

/// What a port is, if it is noise.
pub(super) fn noise(port: u16, process: &str, command: &str) -> Option<&'static str> {
    static LANGUAGE_SERVER: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let names = r"(?:^|[/ ])(?:gopls|rust-analyzer|clangd|pylsp|jdtls|omnisharp|sourcekit-lsp|metals|solargraph|tsserver\.js)(?: |$)";
        Regex::new(&format!(r"(?i)language-?server|langserver|org\.eclipse\.jdt\.ls|{names}")).ok()
    });
    if SERVICES.contains(&process) {
        return Some("service");
    }
    if DEBUGGERS.contains(&process) || command.contains("debugpy/adapter") || debug_ports(process, command).contains(&port) {
        return Some("debugger");
    }
    let node = process == "node" || process.starts_with("next-server");
    if node && NODE_INSPECTOR.contains(&port) {
        return Some("debugger");
    }
    let speaks = LANGUAGE_SERVER.as_ref().is_some_and(|pattern| pattern.is_match(command));
    speaks.then_some("language server")
}

/// The ports that a command line gives to a debugger inside the program that it starts.
fn debug_ports(process: &str, command: &str) -> Vec<u16> {
    let words: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).collect();
    let after = |index: usize, name: &str| {
        let word = words[index].strip_prefix(name)?;
        match word.strip_prefix('=') {
            Some(value) => last_number(value),
            None if word.is_empty() => words.get(index + 1).and_then(|next| last_number(next)),
            None => None,
        }
    };
    let python = command.contains("debugpy") || command.contains("pydevd");
    let ruby = process == "rdbg" || command.contains("rdbg") || command.contains("rdebug-ide");
    let named = |index: usize| {
        let names: &[&str] = if python {
            &["--listen", "--port"]
        } else if ruby {
            &["--port", "--dispatcher-port"]
        } else {
            &[
                "--inspect",
                "--inspect-brk",
                "--inspect-wait",
                "--inspect-port",
                "--debug-port",
                "--remote-debugging-port",
            ]
        };
        names.iter().find_map(|name| after(index, name))
    };
    let java = |index: usize| {
        let agent = words[index]
            .contains("jdwp=")
            .then(|| words[index].split("address=").nth(1))
            .flatten();
        agent.and_then(|rest| last_number(rest.split(',').next().unwrap_or_default()))
    };
    (0..words.len()).filter_map(|index| named(index).or_else(|| java(index))).collect()
}

/// The port of `9229`, `127.0.0.1:9229` or `*:9229`.
fn last_number(value: &str) -> Option<u16> {
    value.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        #[track_caller]
        fn check(port: u16, process: &str, command: &str, expected: Option<&str>) {
            assert_eq!(noise(port, process, command), expected, "{port} {process} {command}");
        }
        check(9229, "node", "node --inspect server.js", Some("debugger"));
        check(3000, "node", "node --inspect server.js", None);
        check(9229, "node", "node server.js", Some("debugger"));
        check(9230, "next-server (v1", "next-server (v15.1.0)", Some("debugger"));
        check(4000, "node", "node --inspect-brk=0.0.0.0:4000 server.js 4001", Some("debugger"));
        check(4001, "node", "node --inspect-brk=0.0.0.0:4000 server.js 4001", None);
        check(9229, "python3", "python3 app.py", None);
        check(
            5678,
            "python3",
            "python3 -m debugpy --listen 5678 -m flask run --port 5000",
            Some("debugger"),
        );
        check(
            44001,
            "python3",
            "/usr/bin/python3 /home/x/.vscode/extensions/ms-python.debugpy/bundled/libs/debugpy/adapter --for-server 1",
            Some("debugger"),
        );
        check(
            5005,
            "java",
            "java -agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=*:5005 -jar app.jar",
            Some("debugger"),
        );
        check(
            8080,
            "java",
            "java -agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=*:5005 -jar app.jar",
            None,
        );
        check(2345, "dlv", "dlv debug --headless --listen=:2345", Some("debugger"));
        check(8080, "__debug_bin", "/tmp/__debug_bin", None);
        check(
            9222,
            "chromium",
            "chromium --headless --remote-debugging-port=9222",
            Some("debugger"),
        );
        check(12345, "rdbg", "rdbg --open --port 12345 -- bin/rails server", Some("debugger"));
        check(
            36001,
            "java",
            "java -Declipse.application=org.eclipse.jdt.ls.core.id1 -Xmx1G",
            Some("language server"),
        );
        check(37001, "gopls", "/go/bin/gopls serve -listen=:37001", Some("language server"));
        check(2087, "pylsp", "pylsp --tcp --port 2087", Some("language server"));
        check(22, "sshd", "sshd: /usr/sbin/sshd -D", Some("service"));
        check(3000, "node", "node vite --port 3000", None);
        check(5432, "postgres", "postgres -D data", None);
        check(8000, "", "", None);
    }
}
