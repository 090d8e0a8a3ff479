//! An adapter changes what is generated, and only while it is loaded.

use fixfly_policies::students_by;
use fixfly_runtime::{Lora, Settings};

use crate::engine::engines;
use crate::stage::{ENGINE, Folder, QWEN3, act, ids, open, settings, task};
use crate::tiny::{Flaw, Kind, adapter, model};

async fn generated(settings: &Settings, loras: &[Lora]) -> Vec<u32> {
    let mut settings = settings.clone();
    settings.local.loras = loras.to_vec();
    ids(&act(&*open(&settings), &task("a", 10), &[], 1).await.unwrap())
}

#[tokio::test]
async fn an_adapter_changes_what_is_generated() {
    let folder = Folder::new();
    for kind in [Kind::Qwen3, Kind::Llama] {
        let settings = settings(&model(&folder, kind, Some(QWEN3)), 30);
        let [one, other] = [1, 2].map(|seed| adapter(&folder, kind, seed, Flaw::None));
        let lora = |file: &std::path::Path, scale| Lora { file: file.to_path_buf(), scale };
        let plain = generated(&settings, &[]).await;
        assert_ne!(plain, generated(&settings, &[lora(&one, 1.0)]).await);
        assert_eq!(plain, generated(&settings, &[lora(&one, 0.0)]).await);
        assert_ne!(
            generated(&settings, &[lora(&one, 1.0)]).await,
            generated(&settings, &[lora(&one, 0.0), lora(&other, 1.0)]).await
        );
    }
}

#[tokio::test]
async fn adapters_add_up() {
    let folder = Folder::new();
    let settings = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 30);
    let [one, other] = [1, 2].map(|seed| adapter(&folder, Kind::Qwen3, seed, Flaw::None));
    let lora = |file: &std::path::Path, scale| Lora { file: file.to_path_buf(), scale };
    let both = generated(&settings, &[lora(&one, 0.7), lora(&other, 0.4)]).await;
    assert_eq!(both, generated(&settings, &[lora(&other, 0.4), lora(&one, 0.7)]).await);
    assert_ne!(both, generated(&settings, &[lora(&one, 0.7)]).await);
    assert_ne!(both, generated(&settings, &[lora(&other, 0.4)]).await);
    let halves = generated(&settings, &[lora(&one, 0.25), lora(&one, 0.75)]).await;
    assert_eq!(halves, generated(&settings, &[lora(&one, 1.0)]).await);
    let gone = generated(&settings, &[lora(&one, 1.0), lora(&one, -1.0)]).await;
    assert_eq!(gone, generated(&settings, &[]).await);
}

#[tokio::test]
async fn students_of_one_model_share_an_engine() {
    let folder = Folder::new();
    let file = model(&folder, Kind::Qwen3, Some(QWEN3));
    let settings = settings(&file, 30);
    let [one, other] = [1, 2].map(|seed| {
        let file = adapter(&folder, Kind::Qwen3, seed, Flaw::None);
        vec![Lora { file, scale: 1.0 }]
    });
    let adapters = [vec![], one, other];
    let mut expected = Vec::new();
    for loras in &adapters {
        expected.push(generated(&settings, loras).await);
    }
    let students = students_by(ENGINE.as_ref(), &settings, &adapters).unwrap();
    assert_eq!(engines(&file).len(), 1);
    let task = task("a", 10);
    for at in [2, 0, 1, 1, 0, 2] {
        let again = ids(&act(&*students[at], &task, &[], 1).await.unwrap());
        assert_eq!(again, expected[at], "student {at}");
    }
    let (zero, one, two) = tokio::join!(
        act(&*students[0], &task, &[], 1),
        act(&*students[1], &task, &[], 1),
        act(&*students[2], &task, &[], 1),
    );
    assert_eq!([zero, one, two].map(|action| ids(&action.unwrap())), expected[..]);
}
