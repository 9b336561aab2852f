//! Whose token does request number *i* ask for?
//!
//! A population is some apps with weights, each with some subjects of which
//! the first are asked for more often, if so wished (Zipf's law). Who it is
//! depends on the number and the seed alone, so that a thread that signs ahead
//! and the thread that sends agree without talking.

use std::sync::Arc;

use crate::assertion::Subject;
use crate::signer::Signer;
use crate::stats::Random;
use crate::token::{App, KeyRing, SigningKey};

/// One app and the subjects that it asks for.
#[derive(Clone)]
pub struct Member {
    /// The app.
    pub app: App,
    /// Its first key, in the form of the backend that signs.
    pub signer: Arc<dyn Signer>,
    /// Whom tokens are asked for.
    pub subjects: Arc<[Subject]>,
    /// The app's share of requests, relative to the other apps'.
    pub weight: f64,
}

/// Who asks for tokens.
#[derive(Clone)]
pub struct Population {
    members: Vec<Member>,
    /// The keys of each member, which may be replaced while a load goes on.
    rings: Vec<Arc<KeyRing>>,
    /// The sums of the weights up to each member, scaled to 1.
    shares: Vec<f64>,
    /// The sums of subjects' weights, for each member.
    ranks: Vec<Option<Arc<[f64]>>>,
    seed: u64,
}

impl Population {
    /// Makes a population.
    ///
    /// `zipf` is the exponent of Zipf's law: the subject number *r*, from 1,
    /// is asked for in proportion to 1 / *r*^`zipf`. Without it subjects take
    /// turns.
    ///
    /// # Panics
    ///
    /// There is no member, or a member without subjects.
    #[must_use]
    pub fn new(members: Vec<Member>, zipf: Option<f64>, seed: u64) -> Self {
        assert!(
            !members.is_empty() && members.iter().all(|member| !member.subjects.is_empty()),
            "a population has members, and members have subjects"
        );
        let ranks = members
            .iter()
            .map(|member| {
                zipf.map(|exponent| {
                    scaled_sums(
                        (1..=member.subjects.len()).map(|rank| (rank as f64).powf(-exponent)),
                    )
                    .into()
                })
            })
            .collect();
        Self {
            rings: members
                .iter()
                .map(|member| {
                    let signer = Arc::clone(&member.signer);
                    let app = &member.app;
                    let key = SigningKey::of_signer(signer, app.key_id(), app.algorithm());
                    Arc::new(KeyRing::new(key))
                })
                .collect(),
            shares: scaled_sums(members.iter().map(|member| member.weight)),
            members,
            ranks,
            seed,
        }
    }

    /// Returns the members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns the key that a member signs with now.
    pub(super) fn key(&self, member: usize) -> Arc<SigningKey> {
        self.rings[member].current()
    }

    /// Returns the keys of a member, by which they can be replaced.
    #[must_use]
    pub fn ring(&self, member: usize) -> &Arc<KeyRing> {
        &self.rings[member]
    }

    /// Returns the number of the member and the subject of request `index`.
    #[must_use]
    pub fn pick(&self, index: u64) -> (usize, &Subject) {
        let (member, subject) = self.pick_numbers(index);
        (member, &self.members[member].subjects[subject])
    }

    /// Returns the number of the subject of request `index`, counted over all
    /// members.
    pub(super) fn subject_number(&self, index: u64) -> u64 {
        let (member, subject) = self.pick_numbers(index);
        let before = self.members[..member].iter();
        (before.map(|member| member.subjects.len()).sum::<usize>() + subject) as u64
    }

    fn pick_numbers(&self, index: u64) -> (usize, usize) {
        if let ([only], [None]) = (&*self.members, &*self.ranks)
            && only.subjects.len() == 1
        {
            return (0, 0);
        }
        let mut random = (self.members.len() > 1 || self.ranks[0].is_some())
            .then(|| Random::new(self.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let member = match &mut random {
            Some(random) if self.members.len() > 1 => below(&self.shares, random.unit()),
            _ => 0,
        };
        let subjects = &self.members[member].subjects;
        let subject = match (&self.ranks[member], &mut random) {
            (Some(ranks), Some(random)) => below(ranks, random.unit()),
            _ => usize::try_from(index % subjects.len() as u64).unwrap_or_default(),
        };
        (member, subject)
    }
}

/// Finds the first sum above `point`.
fn below(sums: &[f64], point: f64) -> usize {
    sums.partition_point(|sum| *sum <= point)
        .min(sums.len() - 1)
}

fn scaled_sums(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = 0.0;
    let mut sums: Vec<f64> = weights
        .map(|weight| {
            sum += weight.max(0.0);
            sum
        })
        .collect();
    for part in &mut sums {
        *part /= sum.max(f64::MIN_POSITIVE);
    }
    sums
}

#[cfg(test)]
pub(in crate::load) mod fake {
    use std::collections::BTreeMap;

    use super::*;
    use crate::credential::generate::{self, RsaBits};
    use crate::oauth::Profile;
    use crate::signer::{Algorithm, SignError};

    /// Signs with fixed bytes.
    pub struct Fixed;

    impl Signer for Fixed {
        fn signature_len(&self) -> usize {
            256
        }

        fn sign(&self, _message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
            signature.fill(7);
            Ok(())
        }
    }

    /// Makes a member of a generated app whose signer signs nothing.
    pub fn member(subjects: usize, weight: f64) -> Member {
        static APP: std::sync::OnceLock<App> = std::sync::OnceLock::new();
        let app = APP.get_or_init(|| {
            let config = generate::app_config(RsaBits::B2048, None).unwrap();
            App::new(
                &config.credential().unwrap(),
                &Profile::built_in("box").unwrap(),
                &BTreeMap::new(),
                Algorithm::Rs256,
                "http://127.0.0.1/oauth2/token",
            )
            .unwrap()
        });
        Member {
            app: app.clone(),
            signer: Arc::new(Fixed),
            subjects: (0..subjects)
                .map(|id| Subject::user((1_000 + id).to_string()))
                .collect(),
            weight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_picked_by_weight_and_subjects_by_rank() {
        let members = vec![fake::member(50, 3.0), fake::member(10, 1.0)];
        let population = Population::new(members, Some(1.0), 5);
        let mut apps = [0_u32; 2];
        let mut first = [0_u32; 2];
        for index in 0..40_000 {
            let (member, subject) = population.pick(index);
            assert_eq!(population.pick(index).1, subject);
            apps[member] += 1;
            first[member] += u32::from(subject.id == "1000");
        }
        assert!((29_500..30_500).contains(&apps[0]), "{apps:?}");
        // Harmonic numbers: H(50) = 4.499, H(10) = 2.929.
        let share = |member: usize| f64::from(first[member]) / f64::from(apps[member]);
        assert!((share(0) - 1.0 / 4.499).abs() < 0.01, "{}", share(0));
        assert!((share(1) - 1.0 / 2.929).abs() < 0.02, "{}", share(1));
    }

    #[test]
    fn subjects_of_one_app_take_turns() {
        let population = Population::new(vec![fake::member(3, 1.0)], None, 1);
        let ids: Vec<_> = (0..6)
            .map(|index| population.pick(index).1.id.clone())
            .collect();
        assert_eq!(ids, ["1000", "1001", "1002", "1000", "1001", "1002"]);
    }
}
