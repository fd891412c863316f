//! The rows: the rig's faults of servers, and those of nodes. Nothing here judges.

use larder_rig::{Error, Fault};

use super::scene::Scene;

/// What is done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Play {
    /// Nothing happens.
    Peace,
    /// Something happens to the servers, or on the way to them.
    Servers(&'static Fault),
    /// Something happens to the first node.
    Node(fn(&Scene) -> Result<(), Error>, fn(&Scene) -> Result<(), Error>),
}

/// A row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) play: Play,
    /// Nodes that promise nothing: the row that shows that staleness would be seen.
    pub(super) control: bool,
}

/// All of them.
pub(super) fn scenarios() -> Vec<Scenario> {
    let row = |name, play| Scenario { name, play, control: false };
    let mut rows = vec![row("none", Play::Peace)];
    rows.extend(Fault::named("one node is cut off").map(|fault| Scenario {
        name: "control: a node without a level is cut off",
        play: Play::Servers(fault),
        control: true,
    }));
    rows.push(row(
        "kill -9: a node dies and comes back",
        Play::Node(kill_node, |scene| scene.node()?.restart()),
    ));
    rows.push(row("SIGSTOP: a node stands still", Play::Node(pause_node, resume_node)));
    rows.extend(Fault::ALL.iter().map(|fault| row(fault.name, Play::Servers(fault))));
    rows
}

impl Scenario {
    /// It sets in.
    pub(super) fn begin(&self, scene: &Scene) -> Result<(), Error> {
        match self.play {
            Play::Peace => Ok(()),
            Play::Servers(fault) => fault.begin(&scene.place),
            Play::Node(begin, _) => begin(scene),
        }
    }

    /// Some thirty times while it lasts.
    pub(super) fn again(&self, scene: &Scene) -> Result<(), Error> {
        match self.play {
            Play::Servers(fault) => fault.again(&scene.place),
            Play::Peace | Play::Node(..) => Ok(()),
        }
    }

    /// It is over: whatever is still wrong now, the nodes have to get over. Where a master is missing, it is over when there
    /// is one again: until then no client can do anything.
    pub(super) fn end(&self, scene: &Scene) -> Result<(), Error> {
        match self.play {
            Play::Peace => Ok(()),
            Play::Servers(fault) => fault.end(&scene.place),
            Play::Node(_, end) => end(scene),
        }
    }
}

fn kill_node(scene: &Scene) -> Result<(), Error> {
    scene.node()?.kill();
    Ok(())
}

fn pause_node(scene: &Scene) -> Result<(), Error> {
    scene.node()?.pause();
    Ok(())
}

fn resume_node(scene: &Scene) -> Result<(), Error> {
    scene.node()?.resume();
    Ok(())
}
