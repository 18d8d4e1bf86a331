//! A network of a test's own: a client's and a server's namespace with a cable between them, which can be cut for one
//! connection, so that packets vanish without a word. None without root, `ip` and `nft`.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Two network namespaces; gone when dropped.
#[derive(Debug)]
pub struct Network {
    name: String,
}

impl Network {
    /// The server's address.
    pub const SERVER: &str = "10.213.0.1";

    /// A network, or none, which is said.
    pub fn new(test: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pipe{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let network = Self { name };
        let made = network.make();
        if !made {
            crate::skipped(&format!("{test}: a network of its own needs root, ip (iproute2) and nft (nftables)"));
        }
        made.then_some(network)
    }

    fn make(&self) -> bool {
        let (server, client) = (self.server(), self.client());
        ip(&format!("netns add {server}"))
            && ip(&format!("netns add {client}"))
            && ip(&format!("link add cable netns {server} type veth peer name cable netns {client}"))
            && ip(&format!("-n {server} address add {}/30 dev cable", Self::SERVER))
            && ip(&format!("-n {client} address add 10.213.0.2/30 dev cable"))
            && [&server, &client].iter().all(|space| {
                ip(&format!("-n {space} link set lo up"))
                    && ip(&format!("-n {space} link set cable up"))
                    && succeeds(
                        Command::new("ip").args(["netns", "exec", space, "nft"]).arg(
                            "add table inet cut; add chain inet cut arriving { type filter hook input priority 0; policy accept; }",
                        ),
                    )
            })
    }

    /// The namespace of the server.
    pub fn server(&self) -> String {
        format!("{}s", self.name)
    }

    /// The namespace of clients.
    pub fn client(&self) -> String {
        format!("{}c", self.name)
    }

    /// From now on nothing arrives of the connection whose client's port this is, on either side.
    pub fn cut(&self, port: u16) {
        for (space, side) in [(self.server(), "sport"), (self.client(), "dport")] {
            let rule = format!("add rule inet cut arriving tcp {side} {port} drop");
            assert!(succeeds(Command::new("ip").args(["netns", "exec", &space, "nft", &rule])));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&format!("netns delete {}", self.client()));
        ip(&format!("netns delete {}", self.server()));
    }
}

/// `command` inside of a namespace.
pub fn within(space: &str, command: &Command) -> Command {
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", space]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(name, value),
            None => inside.env_remove(name),
        };
    }
    inside
}

fn ip(arguments: &str) -> bool {
    succeeds(Command::new("ip").args(arguments.split(' ')))
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
