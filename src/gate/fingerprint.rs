//! Are figures of another time from the same conditions?
//!
//! Only what is categorical and stays the same across reboots counts. Clock
//! rates and bogomips do not: a key that was derived from them has changed on
//! machines that had not.

use serde::{Deserialize, Serialize};

use crate::record::Host;

/// What must be the same for saved figures to mean anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// The processor's model string.
    pub cpu_model: String,
    /// Family, model and stepping.
    pub cpu_signature: String,
    /// Logical processors that may be used.
    pub cpus: usize,
    /// The instruction sets that signing looks for and that are there.
    pub cpu_features: Vec<String>,
    /// Is it a virtual machine?
    pub is_virtual: bool,
    /// The operating system.
    pub os: String,
    /// The major and minor version of the kernel.
    pub kernel: String,
    /// The architecture that the program was built for.
    pub arch: String,
    /// Was it built with optimisation?
    pub is_optimised: bool,
    /// The version of this program.
    pub tool_version: String,
}

impl Fingerprint {
    /// Takes the fingerprint of this machine and build.
    #[must_use]
    pub fn here() -> Self {
        Self::of(&Host::detect(), env!("CARGO_PKG_VERSION"))
    }

    /// Takes the fingerprint of a machine that a record describes, and of a
    /// version of this program.
    #[must_use]
    pub fn of(host: &Host, tool_version: &str) -> Self {
        let host = host.clone();
        Self {
            kernel: host
                .kernel
                .splitn(3, '.')
                .take(2)
                .collect::<Vec<_>>()
                .join("."),
            cpu_model: host.cpu_model,
            cpu_signature: host.cpu_signature,
            cpus: host.cpus,
            cpu_features: host.cpu_features,
            is_virtual: host.is_virtual,
            os: host.os,
            arch: host.arch,
            is_optimised: host.is_optimised,
            tool_version: tool_version.to_owned(),
        }
    }

    /// Names what differs from another fingerprint, with both values.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, here: &dyn std::fmt::Debug, there: &dyn std::fmt::Debug| {
            let (here, there) = (format!("{here:?}"), format!("{there:?}"));
            if here != there {
                found.push(format!("{what} is {here}, was {there}"));
            }
        };
        compare("the processor", &self.cpu_model, &other.cpu_model);
        compare("its signature", &self.cpu_signature, &other.cpu_signature);
        compare("the number of processors", &self.cpus, &other.cpus);
        compare(
            "the set of instructions",
            &self.cpu_features,
            &other.cpu_features,
        );
        compare("virtual", &self.is_virtual, &other.is_virtual);
        compare("the system", &self.os, &other.os);
        compare("the kernel", &self.kernel, &other.kernel);
        compare("the architecture", &self.arch, &other.arch);
        compare("optimised", &self.is_optimised, &other.is_optimised);
        compare(
            "the version of mintmark",
            &self.tool_version,
            &other.tool_version,
        );
        found
    }
}
