use std::fs;

use super::*;

/// A folder of a training with two epochs of a plan of `epochs`.
fn training(folder: &Path, epochs: usize) {
    fs::create_dir_all(folder.join("checkpoints/step-000002")).unwrap();
    fs::create_dir_all(folder.join("checkpoints/step-000004")).unwrap();
    fs::create_dir_all(folder.join("checkpoints/partial-000006")).unwrap();
    fs::create_dir_all(folder.join("repairs")).unwrap();
    let record = json!({
        "engine": "fixfly", "base": "models/<b>", "dataset": "datasets/v4", "dtype": "f32",
        "settings": {"method": "lora", "rank": 8, "learning_rate": 0.0001, "epochs": epochs, "seed": 42},
    });
    fs::write(folder.join("train.json"), record.to_string()).unwrap();
    let mut log = String::new();
    for step in 1..=4 {
        let line = json!({
            "kind": "step", "step": step, "epoch": step as f64 / 2.0, "loss": 2.0 / step as f64,
            "rate": 1e-4, "gradient": if step == 3 { Value::Null } else { 0.5.into() },
            "tokens": 100 * step, "learned": 10, "seconds": 2.0,
        });
        log += &format!("{line}\n");
    }
    log += "{\"kind\":\"validation\",\"step\":2,\"epoch\":1.0,\"loss\":1.5,\"learned\":9}\n";
    log += "{\"kind\":\"validation\",\"step\":4,\"epoch\":2.0,\"loss\":1.75,\"learned\":9}\n";
    log += "{\"kind\":\"repairs\",\"step\":4,\"epoch\":2.0,\"solved\":5,\"of\":20}\n{\"kind\":\"st";
    fs::write(folder.join("log.jsonl"), log).unwrap();
    for (step, validation) in [(2, 1.5), (4, 1.75)] {
        let facts = json!({"step": step, "epoch": step / 2, "loss": 1.0, "validation": validation});
        let file = folder.join(format!("checkpoints/step-{step:06}/checkpoint.json"));
        fs::write(file, facts.to_string()).unwrap();
    }
    fs::write(folder.join("repairs/step-000004.json"), r#"{"solved":5,"of":20}"#).unwrap();
}

fn html(folder: &Path) -> String {
    let mut engine = Environment::new();
    add_templates(&mut engine).unwrap();
    let html = TrainingPage { folder, link: &|_| None }.html(&engine).unwrap();
    html.replace(&*paint::text(&folder.display().to_string()), "FOLDER")
}

#[test]
fn a_page_of_a_training() {
    let folder = tempfile::tempdir().unwrap();
    training(folder.path(), 3);
    insta::assert_snapshot!(html(folder.path()));
}

#[test]
fn a_training_is_complete_after_its_last_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let page = TrainingPage { folder: folder.path(), link: &|_| None };
    for (epochs, complete) in [(3, false), (2, true)] {
        training(folder.path(), epochs);
        let data = page.data_json().unwrap();
        assert_eq!(data["complete"], complete);
        let names: Vec<_> =
            data["charts"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["loss", "rate", "gradient", "speed", "solved"]);
    }
}

#[test]
fn a_sweep_lists_its_students() {
    let folder = tempfile::tempdir().unwrap();
    training(&folder.path().join("lora-a1"), 2);
    training(&folder.path().join("models/lora-b2"), 3);
    let html = html(folder.path());
    assert!(html.contains("1 of 2 trainings are complete"), "{html}");
    for part in [
        "lora-a1",
        "models&#x2f;lora-b2",
        "LoRA, rank 8",
        "5 of 20 (25.0 %)",
        "models&#x2f;&lt;b&gt;",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
}

#[test]
fn a_training_without_a_step_has_no_plot() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train.json"), r#"{"base":"small"}"#).unwrap();
    assert!(html(folder.path()).contains("There is no log of a step yet."));
}

#[test]
fn the_log_of_llamafactory_is_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("llamafactory/out")).unwrap();
    fs::write(folder.path().join("train.json"), r#"{"settings":{"epochs":2}}"#).unwrap();
    let log = "{\"current_steps\":1,\"total_steps\":2,\"loss\":2.5,\"lr\":1e-05,\"epoch\":1.0}\n{\"current_steps\":2,\"total_steps\":2,\"eval_loss\":2.25,\"epoch\":2.0}\n";
    fs::write(folder.path().join("llamafactory/out/trainer_log.jsonl"), log).unwrap();
    let data = TrainingPage { folder: folder.path(), link: &|_| None }.data_json().unwrap();
    assert_eq!(data["states"], json!(["not complete: step 1, epoch 1.00 of 2"]));
    assert_eq!(data["charts"].as_array().unwrap().len(), 2);
}
