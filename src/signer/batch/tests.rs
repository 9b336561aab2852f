//! Are the signatures the ones that there are to be?

use super::*;

/// Reads a key that was made for tests.
fn key(name: &str) -> PrivateKey {
    let path = format!("{}/tests/fixtures/batch/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    PrivateKey::from_pkcs8_der(pem::parse(text).unwrap().contents()).unwrap()
}

fn sign_all(signer: &dyn Signer, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut signatures = vec![vec![0; signer.signature_len()]; messages.len()];
    let mut jobs: Vec<Job<'_>> = messages
        .iter()
        .zip(&mut signatures)
        .map(|(message, signature)| Job { message, signature })
        .collect();
    signer.sign_batch(&mut jobs).unwrap();
    signatures
}

fn messages(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| vec![i as u8; 37 * i]).collect()
}

#[test]
fn quick() {
    for name in ["rsa2048", "rsa3072", "rsa4096"] {
        let key = key(name);
        for path in [Path::Ifma, Path::Portable] {
            let signer = Batch::on(path).load(&key, Algorithm::Rs256).unwrap();
            let aws = AwsLc.load(&key, Algorithm::Rs256).unwrap();
            let messages = messages(9);
            let t = std::time::Instant::now();
            let ours = sign_all(&*signer, &messages);
            println!("{name} {path} {:?}", t.elapsed());
            assert!(ours == sign_all(&*aws, &messages));
            let public = key.public_key().unwrap();
            for (m, s) in messages.iter().zip(&ours) {
                assert!(super::super::verify(public, Algorithm::Rs256, m, s));
            }
            if path == Path::Ifma {
                let c = Components::of(&key).unwrap();
                let e = Engine::load(path, &c, false).unwrap();
                let mut b = ours[0].clone();
                let mut b2 = ours[0].clone();
                Padding::of(Algorithm::Rs256).unwrap().encode(&messages[0], &mut b);
                Padding::of(Algorithm::Rs256).unwrap().encode(&messages[1], &mut b2);
                let v = e.sign(&mut [&mut b, &mut b2]);
                assert!(v.contains(0) && v.contains(1), "{v:?}");
                let e = Engine::load(path, &c, true).unwrap();
                for _ in 0..3 {
                Padding::of(Algorithm::Rs256).unwrap().encode(&messages[0], &mut b);
                Padding::of(Algorithm::Rs256).unwrap().encode(&messages[1], &mut b2);
                let v = e.sign(&mut [&mut b, &mut b2]);
                assert!(v.contains(0) && v.contains(1), "{v:?}");
                assert_eq!(b, ours[0]);
                }
            }
        }
    }
}
