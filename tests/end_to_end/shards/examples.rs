//! The files for array launchers in docs/examples, with the real program and without launchers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tempfile::TempDir;
use yaml_rust2::{Yaml, YamlLoader};

use super::timeless;
use crate::architecture::root;
use crate::project::benchmark;

/// A folder in which `fixfly run django` runs a benchmark of three methods.
struct Place {
    folder: TempDir,
    _benchmark: TempDir,
}

impl Place {
    fn new() -> Self {
        let (folder, benchmark) = (tempfile::tempdir().unwrap(), benchmark(0.0));
        let program = env!("CARGO_BIN_EXE_fixfly");
        let script = format!(
            "#!/bin/bash\n[ \"$1 $2\" != 'run django' ] || \
             set -- run python --benchmark-dir '{}' \"${{@:3}}\"\nexec '{program}' \"$@\"\n",
            benchmark.path().display()
        );
        let place = Place { folder, _benchmark: benchmark };
        place.write("fixfly", &script);
        place
    }

    /// Writes a program.
    fn write(&self, name: &str, text: &str) {
        let file = self.folder.path().join("bin").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[track_caller]
    fn bash(&self, words: &[&str], variables: &[(&str, &str)]) {
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("bash")
            .args(words)
            .current_dir(self.folder.path())
            .env("PATH", format!("{}/bin:{path}", self.folder.path().display()))
            .env("FIXFLY_HOME", "/nonexistent/fixfly")
            .env("SHARDS", "3")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?} {variables:?}: {errors}");
    }

    /// Merges the shards, and compares them with an undivided run.
    #[track_caller]
    fn check(&self, shards: &str) {
        let merge = format!("fixfly merge-runs {shards}/shard-* -o all");
        self.bash(&["-c", &merge], &[]);
        self.bash(&["-c", "fixfly run django --policy retrieval -o whole"], &[]);
        let run = |name: &str| timeless(&self.folder.path().join(name));
        assert_eq!(run("all").len(), 3);
        assert_eq!(run("all"), run("whole"));
    }
}

fn example(name: &str) -> String {
    root().join("docs/examples").join(name).display().to_string()
}

#[test]
fn scripts_of_arrays_run_a_shard_for_each_number() {
    for (file, number, cpus) in [
        ("slurm.sh", "SLURM_ARRAY_TASK_ID", "SLURM_CPUS_PER_TASK"),
        ("sge.sh", "SGE_TASK_ID", "NSLOTS"),
    ] {
        let (place, script) = (Place::new(), example(file));
        place.bash(&["-n", &script], &[]);
        for index in ["1", "2", "3"] {
            place.bash(&[&script], &[(number, index), (cpus, "1")]);
        }
        place.check("runs/array");
    }
}

/// GNU parallel where it is installed, and what this script needs of it elsewhere.
#[test]
fn the_script_of_gnu_parallel_runs_and_merges_all_shards() {
    let (place, script) = (Place::new(), example("parallel.sh"));
    place.bash(&["-n", &script], &[]);
    let is_gnu = Command::new("parallel")
        .arg("--version")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).starts_with("GNU parallel"));
    if !is_gnu {
        let stand_in =
            "#!/bin/bash\nshift 4\nwhile read -r n; do \"${@//\\{\\}/$n}\" || exit; done\n";
        place.write("parallel", stand_in);
    }
    place.bash(&[&script], &[("HOME", place.folder.path().to_str().unwrap())]);
    assert!(place.folder.path().join("runs/parallel/all/run.json").exists());
    place.check("runs/parallel");
}

#[test]
fn the_job_of_kubernetes_runs_a_shard_for_each_index() {
    let text = fs::read_to_string(example("kubernetes.yaml")).unwrap();
    let [job] = &*YamlLoader::load_from_str(&text).unwrap() else { panic!("one document") };
    assert_eq!((&job["kind"], &job["apiVersion"]), (&word("Job"), &word("batch/v1")));
    assert_eq!(job["spec"]["completionMode"], word("Indexed"));
    let completions = job["spec"]["completions"].as_i64().unwrap();
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let list = |key: &str| -> Vec<String> {
        let words = container[key].as_vec().unwrap().iter();
        words.map(|word| word.as_str().unwrap().to_string()).collect()
    };
    let (command, args) = (list("command"), list("args"));
    assert_eq!(command[0], "/bin/bash");
    assert!(
        args[0].contains(&format!("${{SHARDS:-{completions}}}")),
        "as many as indexes: {args:?}"
    );
    let volumes = |list: &Yaml| -> BTreeMap<String, ()> {
        let names = list.as_vec().unwrap().iter().map(|one| one["name"].as_str().unwrap());
        names.map(|name| (name.to_string(), ())).collect()
    };
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(volumes(&container["volumeMounts"]), volumes(&pod["volumes"]));

    let place = Place::new();
    let words: Vec<&str> = command[1..].iter().chain(&args).map(String::as_str).collect();
    for index in ["0", "1", "2"] {
        place.bash(&words, &[("JOB_COMPLETION_INDEX", index), ("RUN", "runs/indexed")]);
    }
    place.check("runs/indexed");
}

fn word(text: &str) -> Yaml {
    Yaml::String(text.into())
}
