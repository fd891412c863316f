//! The rows: the rig's faults of a server alone, and those of nodes, Sentinel sets and clusters. Nothing here judges.

use larder_rig::{Cluster, Error, Fault, Sentinel};

use super::scene::{Scene, Servers};

/// What is played on, and how.
#[derive(Debug, Clone, Copy)]
pub(super) enum Play {
    /// Nothing happens.
    Peace,
    /// Something happens to the one server, or on the way to it.
    Site(&'static Fault),
    /// Something happens to the first node.
    Node(fn(&Scene) -> Result<(), Error>, fn(&Scene) -> Result<(), Error>),
    /// Something happens to a Sentinel set; when it is over, there is a master.
    Sentinel(fn(&Sentinel) -> Result<(), Error>),
    /// Something happens to a cluster; when it is over, all slots are served.
    Cluster(fn(&Cluster) -> Result<(), Error>),
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
    let site = |fault: &'static Fault| row(fault.name, Play::Site(fault));
    let mut rows = vec![row("none", Play::Peace)];
    rows.extend(Fault::named("one node is cut off").map(|fault| Scenario {
        name: "control: a node without a level is cut off",
        play: Play::Site(fault),
        control: true,
    }));
    rows.extend(Fault::ALL.iter().map(site));
    rows.extend([
        row("kill -9: a node dies and comes back", Play::Node(kill_node, |scene| scene.node()?.restart())),
        row("SIGSTOP: a node stands still", Play::Node(pause_node, resume_node)),
        row("Sentinel: the master is killed", Play::Sentinel(|set| set.kill_master().map(drop))),
        row("Sentinel: the master hands over", Play::Sentinel(Sentinel::hand_over)),
        row(
            "Cluster: the journal's master is killed",
            Play::Cluster(|cluster| cluster.kill_master(journal_slot(cluster)?).map(drop)),
        ),
        row(
            "Cluster: the journal's master hands over",
            Play::Cluster(|cluster| cluster.hand_over(journal_slot(cluster)?)),
        ),
        row(
            "Cluster: the journal's slot moves",
            Play::Cluster(|cluster| cluster.move_slot(journal_slot(cluster)?)),
        ),
    ]);
    rows
}

impl Scenario {
    /// It sets in.
    pub(super) fn begin(&self, scene: &Scene) -> Result<(), Error> {
        match (self.play, &scene.servers) {
            (Play::Site(fault), Servers::Alone(site)) => fault.begin(site),
            (Play::Node(begin, _), _) => begin(scene),
            (Play::Sentinel(happens), Servers::Sentinel(set)) => happens(set),
            (Play::Cluster(happens), Servers::Cluster(cluster)) => happens(cluster),
            _ => Ok(()),
        }
    }

    /// Some thirty times while it lasts.
    pub(super) fn again(&self, scene: &Scene) -> Result<(), Error> {
        match (self.play, &scene.servers) {
            (Play::Site(fault), Servers::Alone(site)) => fault.again(site),
            _ => Ok(()),
        }
    }

    /// It is over: whatever is still wrong now, the nodes have to get over.
    pub(super) fn end(&self, scene: &Scene) -> Result<(), Error> {
        match (self.play, &scene.servers) {
            (Play::Site(fault), Servers::Alone(site)) => fault.end(site),
            (Play::Node(_, end), _) => end(scene),
            // Until there is a master again no client can do anything.
            (Play::Sentinel(_), Servers::Sentinel(set)) => set.settle(),
            (Play::Cluster(_), Servers::Cluster(cluster)) => cluster.settle(),
            _ => Ok(()),
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

/// The slot of the journal's keys.
fn journal_slot(cluster: &Cluster) -> Result<u16, Error> {
    cluster.slot("{larder:matrix}")
}
